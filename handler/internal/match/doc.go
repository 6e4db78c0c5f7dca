// Package match decides which NinjaOne device is which Intune device, and says
// why. It is pure: plain data in, plain data out, the same answer whatever the
// order of the input. Clients, storage, clocks, logging and rendering stay out.
//
// The rules, in order of strength:
//
//  1. A serial number decides when it is usable (see [NormalizeSerial]) and
//     exactly one NinjaOne device has it, in either of its two serial fields.
//     One that NinjaOne devices of different names have, or three and more
//     Intune devices in use, names no machine.
//  2. A name decides when exactly one device on each side has it, the serial
//     numbers of the two do not contradict it, and neither do their operating
//     systems.
//
// New enrolments leave several Intune records of one machine, which count as one. The
// record that checked in last stands for the machine. Where two Entra devices in use
// claim one serial number, their names decide if NinjaOne has both. Else both contest the
// machine, and the one that complies worse stands for it.
package match
