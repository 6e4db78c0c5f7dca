package ninjaone

import "sync"

// Pool keeps one Client per instance and client id, so that all users of one
// share its token. All clients of a pool together keep to one rate. It is safe
// for concurrent use.
type Pool struct {
	base    Deps
	pacer   *pacer
	mu      sync.Mutex
	clients map[[2]string]*Client
}

// NewPool returns a pool whose clients have everything but instance and
// client id from base.
func NewPool(base Deps) *Pool {
	return &Pool{base: base, pacer: newPacer(base), clients: map[[2]string]*Client{}}
}

// Client returns the client for an instance, as configured in CIPP, and an
// API application's client id.
func (p *Pool) Client(instance, clientID string) (*Client, error) {
	host, err := NormalizeInstance(instance)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	key := [2]string{host, clientID}
	if c := p.clients[key]; c != nil {
		return c, nil
	}
	d := p.base
	d.Instance, d.ClientID = host, clientID
	c, err := New(d)
	if err != nil {
		return nil, err
	}
	c.pacer = p.pacer
	p.clients[key] = c
	return c, nil
}

// SetRate changes how many calls per second all clients of the pool, present and later,
// make together. It takes the place of Deps.Rate and holds when it returns: calls that
// were waiting keep to it too. With 0 no call starts until the rate is raised again; +Inf
// means no limit.
func (p *Pool) SetRate(callsPerSecond float64) { p.pacer.setRate(callsPerSecond) }
