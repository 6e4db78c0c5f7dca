// Package customhandler answers the Azure Functions host as its custom handler. It
// listens on the loopback port that the host names, decodes the host's invocations and
// calls plain Go functions. The functions know nothing of envelopes, so that they would
// survive a move to another host. What they do stays out of this package.
//
// The host sends two styles of request, and one [Server] answers both:
//
//   - for timers and queues the envelope, POST /<FunctionName> with
//     {"Data":…,"Metadata":…};
//   - for HTTP functions the original request, route prefix included. That is what
//     enableProxyingHttpRequest in host.json asks for, and enableForwardingHttpRequest
//     of older hosts.
//
// An answer to an envelope is never empty and always JSON. The host hangs on an empty
// body until functionTimeout, and then kills every invocation under way. For the same
// reason each invocation has a deadline of its own. The log explains a failed invocation,
// because the host drops the body of the answer.
package customhandler
