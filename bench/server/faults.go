package main

import (
	"crypto/tls"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
)

// fault is one of the ways in which a request fails.
type fault int

const (
	none          fault = iota
	internal            // 500, nothing was written
	unavailable         // 503, nothing was written
	cutBefore           // the connection ends before the answer; the block was not written
	cutAfterWrite       // the same, but the block was written
	cutInHeaders        // the answer ends inside its headers; the block was written
	cutInBody           // the answer ends inside its body; the block was written
	kindsOfFaults = cutInBody
)

var faultNames = [...]string{"none", "500", "503", "cut before the answer", "cut after the write", "cut in the headers", "cut in the body"}

// faults draws, with a fixed seed, which requests fail and how.
type faults struct {
	mutex sync.Mutex
	share float64
	dice  *rand.Rand
}

func newFaults(share float64, seed uint64) *faults {
	return &faults{share: share, dice: rand.New(rand.NewPCG(seed, 0))}
}

func (f *faults) draw() fault {
	if f.share == 0 {
		return none
	}
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if f.dice.Float64() >= f.share {
		return none
	}
	return fault(1 + f.dice.IntN(int(kindsOfFaults)))
}

// cut sends the first bytes of an answer as they are, and ends the connection; with no bytes, by a reset.
func cut(w http.ResponseWriter, start string) {
	connection, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	_, _ = connection.Write([]byte(start))
	if secure, ok := connection.(*tls.Conn); ok {
		connection = secure.NetConn() // without TLS's goodbye
	}
	if tcp, ok := connection.(*net.TCPConn); ok && start == "" {
		_ = tcp.SetLinger(0) // a reset, not a polite end
	}
	_ = connection.Close()
}
