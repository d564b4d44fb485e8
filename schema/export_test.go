package schema

// ForgetLayout makes m forget which members it was read with, so that it is
// encoded as a new message would be.
func (m *Message) ForgetLayout() {
	m.layout = nil
	if t := m.TaskMessage; t != nil {
		t.layout, t.eventLayout, t.target = nil, nil, nil
	}
}

// Remembered returns how much d keeps from one call to the next.
func (d *Decoder) Remembered() (shapes, columns int) { return len(d.shapes), len(d.columns) }
