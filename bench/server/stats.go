package main

import (
	"sync"
	"syscall"
	"time"
)

// step is the width of a bar of the timeline.
const step = 250 * time.Millisecond

// stats counts what the clients did since the last reset.
type stats struct {
	mutex sync.Mutex

	Accepted    int            `json:"accepted"`  // puts answered with 201, or written before their answer was cut
	Distinct    int            `json:"distinct"`  // of them, the first of their block
	Throttled   int            `json:"throttled"` // puts refused by the bucket
	Refused     map[string]int `json:"refused"`   // other refusals, by code
	Faults      map[string]int `json:"faults"`    // failures that were asked for, by kind
	Calls       map[string]int `json:"calls"`     // every request that got as far as a handler, by its name
	Connections int            `json:"connections"`
	Window      float64        `json:"window"`   // seconds between the first and the last accepted put
	Timeline    [][2]int       `json:"timeline"` // accepted and throttled puts in each quarter of a second
	ServerCPU   float64        `json:"server_cpu"`

	began       time.Time // the first put, the timeline's left end
	first, last time.Time // accepted puts
	cpu         float64
}

func newStats() *stats {
	return &stats{Refused: map[string]int{}, Faults: map[string]int{}, Calls: map[string]int{}, Timeline: [][2]int{}, cpu: usedCPU()}
}

func (s *stats) call(name string) {
	s.mutex.Lock()
	s.Calls[name]++
	s.mutex.Unlock()
}

// decided notes the verdict of the bucket on one put, at the moment `now` of that verdict.
func (s *stats) decided(now time.Time, accepted bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.began.IsZero() {
		s.began = now
	}
	bar := max(int(now.Sub(s.began)/step), 0)
	for len(s.Timeline) <= bar {
		s.Timeline = append(s.Timeline, [2]int{})
	}
	if accepted {
		s.Accepted++
		s.Timeline[bar][0]++
		if s.first.IsZero() {
			s.first = now
		}
		if now.After(s.last) {
			s.last = now
		}
	} else {
		s.Throttled++
		s.Timeline[bar][1]++
	}
}

func (s *stats) note(counter map[string]int, key string) {
	s.mutex.Lock()
	counter[key]++
	s.mutex.Unlock()
}

func (s *stats) stored(distinct bool) {
	if distinct {
		s.mutex.Lock()
		s.Distinct++
		s.mutex.Unlock()
	}
}

// close works out what is only known at the end. The caller holds the mutex.
func (s *stats) close() {
	s.Window = s.last.Sub(s.first).Seconds()
	s.ServerCPU = usedCPU() - s.cpu
}

func usedCPU() float64 {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}
