package wire

import "cipp-ninjaone/handler/internal/reply"

// ServiceError is the error body of Graph and of the Exchange admin API.
type ServiceError struct {
	Error struct {
		Code    Text                    `json:"code"`
		Message Text                    `json:"message"`
		Details reply.List[ErrorDetail] `json:"details"`
		Inner   struct {
			RequestID         Text `json:"request-id"`
			InternalException struct {
				Message Text `json:"message"`
			} `json:"internalexception"`
		} `json:"innererror"`
	} `json:"error"`
}

// ErrorDetail is a detail of a ServiceError.
type ErrorDetail struct {
	Message Text `json:"message"`
}
