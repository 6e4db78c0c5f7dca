// Package browser holds the tests of the console in headless Chromium: each
// thing that a technician does, with the bundle as it is deployed, and whether
// every page is readable for everybody. Nothing of the handler is imported.
//
// They need /usr/bin/chromium and the build tag browser. With the environment
// variable PICTURES they leave pictures of the pages in that folder.
package browser
