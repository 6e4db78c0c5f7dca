package ninjasim

// Ignore lets the instance pass over query parameters, such as df, from now on. Servers do so with
// filters that they do not understand. None lets it heed all.
func (s *Server) Ignore(parameters ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ignored = parameters
}

// Hide leaves devices out of every list and report, although they are there and answer by their id. None hides none.
func (s *Server) Hide(devices ...int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hidden = map[int]bool{}
	for _, id := range devices {
		s.hidden[id] = true
	}
}
