// Package browser tests the console in headless Chromium, with the bundle as it is
// deployed. The tests do each thing that a technician does, and check that everybody can
// read every page. They import nothing of the handler.
//
// They need /usr/bin/chromium and the build tag browser. With the environment
// variable PICTURES they leave pictures of the pages in that folder.
package browser
