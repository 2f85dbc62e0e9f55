package main

import (
	"sync"
	"time"
)

// bucket is the token bucket of a quota: `rate` tokens a second, at most `burst` saved up. A rate of 0 is no limit.
type bucket struct {
	mutex  sync.Mutex
	rate   float64
	burst  float64
	tokens float64
	filled time.Time
}

// newBucket is full at `now`, as an account that did nothing for a while has it.
func newBucket(rate, burst float64, now time.Time) *bucket {
	return &bucket{rate: rate, burst: burst, tokens: burst, filled: now}
}

// take takes a token, or says that there is none.
func (b *bucket) take(now time.Time) bool {
	if b.rate == 0 {
		return true
	}
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if passed := now.Sub(b.filled).Seconds(); passed > 0 {
		b.tokens = min(b.burst, b.tokens+passed*b.rate)
		b.filled = now
	}
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
