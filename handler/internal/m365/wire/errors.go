package wire

// ServiceError is the error body of Graph and of the Exchange admin API.
type ServiceError struct {
	Error struct {
		Code    Text `json:"code"`
		Message Text `json:"message"`
		Details []struct {
			Message Text `json:"message"`
		} `json:"details"`
		Inner struct {
			RequestID         Text `json:"request-id"`
			InternalException struct {
				Message Text `json:"message"`
			} `json:"internalexception"`
		} `json:"innererror"`
	} `json:"error"`
}
