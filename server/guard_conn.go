package server

import (
	"container/list"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// connections is a listener that holds so many connections and no more. When
// there are more, the one that has been silent for the longest time is closed: a
// client that opens many and sends nothing is in nobody's way. If none is silent,
// the new one is closed.
type connections struct {
	net.Listener
	most int

	mu     sync.Mutex
	open   map[*conn]struct{}
	silent list.List // of *conn, the longest silent first
}

func newConnections(l net.Listener, most int) *connections {
	return &connections{Listener: l, most: most, open: make(map[*conn]struct{})}
}

// conn is a connection whose client has to take what is written to it.
type conn struct {
	net.Conn
	expired *time.Timer
	// silent is its element in connections.silent while it has no request; nil
	// otherwise.
	silent *list.Element
}

// Accept implements [net.Listener].
func (c *connections) Accept() (net.Conn, error) {
	for {
		accepted, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		n := &conn{Conn: accepted}
		n.expired = time.AfterFunc(takeTime, n.abort)
		n.expired.Stop()
		if c.add(n) {
			return n, nil
		}
		n.abort()
	}
}

func (c *connections) add(n *conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.open) >= c.most {
		oldest := c.silent.Front()
		if oldest == nil {
			return false
		}
		if victim, ok := oldest.Value.(*conn); ok {
			c.remove(victim)
			victim.abort()
		}
	}
	c.open[n] = struct{}{}
	n.silent = c.silent.PushBack(n)
	return true
}

// note is told by [http.Server] what a connection is doing.
func (c *connections) note(of net.Conn, state http.ConnState) {
	if t, ok := of.(*tls.Conn); ok {
		of = t.NetConn()
	}
	n, ok := of.(*conn)
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.open[n]; !ok {
		return
	}
	switch state {
	case http.StateActive:
		c.hush(n)
	case http.StateIdle:
		c.hush(n)
		n.silent = c.silent.PushBack(n)
	case http.StateClosed:
		c.remove(n)
	}
}

func (c *connections) hush(n *conn) {
	if n.silent != nil {
		c.silent.Remove(n.silent)
		n.silent = nil
	}
}

func (c *connections) remove(n *conn) {
	c.hush(n)
	delete(c.open, n)
}

// Write implements [net.Conn]. It waits as long as the client takes something.
func (n *conn) Write(p []byte) (int, error) {
	written := 0
	for {
		n.expired.Reset(takeTime)
		k, err := n.Conn.Write(p[written:min(len(p), written+pieceBytes)])
		inTime := n.expired.Stop()
		if written += k; err != nil || written == len(p) {
			return written, err
		}
		if !inTime {
			return written, errors.New("server: the client takes nothing")
		}
	}
}

// CloseWrite says that nothing more will be written, while what the client still
// sends is read. [http.Server] ends connections so after a bad request.
func (n *conn) CloseWrite() error {
	if c, ok := n.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}

// abort closes the connection and forgets what the client has not taken.
func (n *conn) abort() {
	if t, ok := n.Conn.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // then it is forgotten a little later
	}
	_ = n.Close() // it is of no use any more
}
