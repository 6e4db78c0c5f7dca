package pacing

import (
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"
)

// hidden is a way in which NinjaOne may limit calls. It says whether it takes a
// call that comes now.
type hidden interface{ take(now time.Time) bool }

// bucket takes perSecond calls a second, and burst on top after a rest.
type bucket struct {
	perSecond, burst, tokens float64
	last                     time.Time
}

func (b *bucket) take(now time.Time) bool {
	if !b.last.IsZero() {
		b.tokens += now.Sub(b.last).Seconds() * b.perSecond
	} else {
		b.tokens = b.burst
	}
	b.tokens, b.last = min(b.tokens, b.burst), now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// window takes a number of calls in each window of time.
type window struct {
	size  time.Duration
	calls int
	at    int64
	n     int
}

func (w *window) take(now time.Time) bool {
	if at := now.UnixNano() / int64(w.size); at != w.at {
		w.at, w.n = at, 0
	}
	w.n++
	return w.n <= w.calls
}

// sliding takes a number of calls in any stretch of time.
type sliding struct {
	size  time.Duration
	calls int
	taken []time.Time
}

func (s *sliding) take(now time.Time) bool {
	for len(s.taken) > 0 && now.Sub(s.taken[0]) >= s.size {
		s.taken = s.taken[1:]
	}
	if len(s.taken) >= s.calls {
		return false
	}
	s.taken = append(s.taken, now)
	return true
}

// noLimit takes all calls.
type noLimit struct{}

func (noLimit) take(time.Time) bool { return true }

// instance is a NinjaOne with a hidden limit, in simulated time.
type instance struct {
	latency    time.Duration
	capacity   float64 // calls per second that it can answer; more wait; 0: any
	retryAfter string
	html       bool

	mu     sync.Mutex
	limit  hidden
	free   time.Time     // when it has answered all that came
	waited time.Duration // of all calls together
	began  time.Time
	passed []int // by second
	turned []int
}

func (i *instance) count(list *[]int, now time.Time) {
	second := int(now.Sub(i.began) / time.Second)
	for len(*list) <= second {
		*list = append(*list, 0)
	}
	(*list)[second]++
}

func (i *instance) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	rec.Header().Set("Content-Type", "application/json")
	if r.URL.Path == "/ws/oauth/token" {
		_, _ = io.WriteString(rec, `{"access_token":"invented","token_type":"Bearer","expires_in":36000}`)
		return rec.Result(), nil
	}
	i.mu.Lock()
	now := time.Now()
	ok := i.limit.take(now)
	wait := i.latency*9/10 + rand.N(i.latency/5)
	if ok {
		i.count(&i.passed, now)
		if i.capacity > 0 {
			if i.free.Before(now) {
				i.free = now
			}
			i.free = i.free.Add(time.Duration(float64(time.Second) / i.capacity))
			wait += i.free.Sub(now)
		}
	} else {
		i.count(&i.turned, now)
	}
	i.waited += wait
	i.mu.Unlock()
	select {
	case <-time.After(wait):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	switch {
	case ok:
		_, _ = io.WriteString(rec, `{"id":1,"name":"Contoso"}`)
	case i.html:
		rec.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(rec, `<html><body>Rate limit exceeded</body></html>`)
	default:
		if i.retryAfter != "" {
			rec.Header().Set("Retry-After", i.retryAfter)
		}
		rec.WriteHeader(http.StatusTooManyRequests)
	}
	return rec.Result(), nil
}

func (i *instance) setLimit(l hidden) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.limit = l
}

// figures are those of a stretch of time.
func (i *instance) figures(from, to time.Duration) (passed, turned float64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	sum := func(list []int) (n float64) {
		for s := int(from / time.Second); s < int(to/time.Second) && s < len(list); s++ {
			n += float64(list[s])
		}
		return n / (to - from).Seconds()
	}
	return sum(i.passed), sum(i.turned)
}

// waits returns how long all calls together waited for their answers.
func (i *instance) waits() time.Duration {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.waited
}
