package schema

// CurrentExecution returns the execution that a partition of the History table
// belongs to now: the sentinel's, or without a sentinel the first row's. Either
// may be nil. It returns "" if neither says.
//
// Rows are overwritten position by position and the surplus of a longer, earlier
// execution is never deleted. The live history is therefore the leading run of
// rows of the current execution: it ends at the first row of another one, even
// if rows of the current one follow.
//
// Source: durabletask 2.9.1, AzureTableTrackingStore.cs:151-246.
func CurrentExecution(sentinel, first *Row) string {
	for _, r := range [...]*Row{sentinel, first} {
		if r != nil {
			if id, ok := r.Get(colExecutionID).Text(); ok {
				return id
			}
		}
	}
	return ""
}

// LiveHistory returns the rows of one partition that the framework takes for the
// instance's history, without the sentinel. rows must be the whole partition in
// key order.
//
// With an execution requested, as for messages that name one, there is no
// history unless the sentinel names the same execution, and rows of other
// executions between are passed over. Versions before 2.1.0 did not look at the
// sentinel.
func LiveHistory(rows []Row, requested string) []Row {
	var sentinel, first *Row
	for i := range rows {
		if rows[i].IsSentinel() {
			sentinel = &rows[i]
		} else if first == nil {
			first = &rows[i]
		}
	}
	current := CurrentExecution(sentinel, first)
	if requested != "" && (sentinel == nil || CurrentExecution(sentinel, nil) != requested) {
		return nil
	}
	var live []Row
	for i := range rows {
		if rows[i].IsSentinel() {
			continue
		}
		if id, _ := rows[i].Get(colExecutionID).Text(); id != current {
			if requested != "" {
				continue
			}
			break
		}
		live = append(live, rows[i])
	}
	return live
}
