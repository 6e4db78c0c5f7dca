package match

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// noSerials are texts that stand in place of a serial number.
var noSerials = []string{
	// Sequences.
	"0123456789ABCDEF", "0123456789", "123456789000", "1234567890", "9876543210", "987654", "ABCDEFGH", "abcdef", "1234-5678-90",
	"0123456789ABCDEFGHIJ", "00000000123456789", "12345678-1234-1234-1234-123456789012", "11112222", "1111-2222-3333-4444",
	"ABCD1234", "ABC1234", "123ABC", "ABCDEF123456", "1A2B3C4D", "A1B2C3D4E5F6", "1020304050", "0102030405", "44556677", "1122334455", "AABBCCDDEEFF", "1234554321", "٠١٢٣٤٥٦٧٨٩", "012345678901", "FEDCBA9876543210",
	// Sequences and repetitions with letters around them.
	"SYS-1234567890", "MB-1234567890", "NB-1234567890", "BSN12345678901234567", "BSS-0123456789", "MB-0123456789AB", "1234567890-MB",
	"sn 0123456789", "SN12345678", "MB-12345678", "SYS-12345678", "98765432-NB", "PC-9876543210", "12345678900", "0x00000000", "SN-XXXXXXXX", "MB-0000000000",
	// Repeated patterns.
	"0101010101", "00000000", "FFFF-FFFF", "XXXX", "ABABABAB", "123123", "12341234", "121212", "ABC123ABC123", "a5a5a5a5a5a5", "0F0F0F0F0F0F", "55AA55AA", "4567-4567", "asdfasdf", "XYZXYZX",
	"00000000-0000-0000-0000-000000000000", "0000-0000-0000-0000-0000-0000-00", "1234-1234-1234-1234-1234-1234-12",
	// Words of a template.
	"To Be Filled By O.E.M.", "To Be Filled By O.E.M. by More String", "to be filled by odm", "To Be Fill", "ToBeFilledByO", "Default string",
	"Default String 1", "$(DEFAULT_STRING)", "(null string)", "null", "<null>", "None Specified", "NotSpecified", "not  specified.", "EVAL", "Eval-001",
	"<OUT OF SPEC>", "Out of Spec", "serialnumber0", "Serial Number 12345678", "SerialNumber#001", "Serial_01", "System Serial Number", "SystemSerialNumb",
	"SYSTEM-0000", "Type2 - Board Serial Number", "Base Board Serial Number", "No Serial", "Not Applica", "NOT AVAILABLE", "not settable",
	"R300-1234567890", "H81M-1234567890", "B5-9876543210-2", "Reserved", "ERROR", "Read error", "Access denied", "unset",
	"OEM", "OEM_Serial", "O.E.M. 1", "Empty", "TBD by ODM", "Invalid0", "UNKNOWN", "undefined", "No Enclosure", "System manufacturer", "Please enter serial here",
	"Engineering Sample", "Evaluation board", "Placeholder 7", "CHANGEME", "test", "QWERTY", "Dеfault string", // the second letter of the last is Cyrillic
	"ＤＥＦＡＵＬＴ　ＳＴＲＩＮＧ", "Def\u200bault string", "03000200-0400-0500-0006-000700080009",
	// Words that no list has.
	"American Megatrends", "Microsoft Corporation", "to be determined", "Please change me", "Generic", "Reference board", "Unbekannt", "Keine Seriennummer",
	"No disponible", "TODO", "INTEL", "UEFI", "false",
	// What hypervisors give when nobody set a number.
	"VirtualBox", "VMware Virtual Platform", "VMware-00 00 00 00 00 00 00 00-00 00 00 00 00 00 00 00", "Virtual Machine", "QEMU",
	// The same in other spellings.
	" ", "\u200b", "XXXXXXXX", "........", "----", "ffffffff-ffff-ffff-ffff-ffffffffffff", "n/a", "N.A.", "NONE", "None.", "not specified", "Not Applicable", "DEFAULT STRING",
	"To be filled by O.E.M.", "To Be Filled By OEM", "Chassis Serial Number", "INVALID", "Unknown", "(null)", "[Empty]", "123456789", "12345678901234567890", "O.E.M.", "Serial Number", "No Asset Tag", "Not-Available", "<none>",
	// Too short.
	"", "0", "1", "A1", "N/A", "-", "x.y",
}

// serials are genuine, or of the form of genuine ones.
var serials = []string{
	"9XKJ2L3", "B4T0LQ2", "4ZZZ0J1", "CBXWZRH", "1A2B3C4", "7HH8J99", // Dell
	"5CG1234AAA", "CZC1234567", "5CG0000001", "MXL1234ABC", "CND8123456", "2UA2345678", "8CC9140XYZ", // HP
	"PF0ABCDE", "PF2XYZ01", "MJ012345", "MJ0ABC12", "R90XYZ12", "LR01234567", "PC1A2B3C", "1S20L5S01J00PF12AB34", "S4YV0123", // Lenovo
	"C02XG0FDH7JY", "C02ABCDEFGHI", "F9FZW123456", "FVFXC2ABCDEF", "DMPXK0ABCD12", "H4TQW0X1ABCD", "K7M2P9QW4X", "VQXNT20C6D", // Apple
	"012345678953", "003456714253", "036625574457", "008731294853", // Surface
	"VMware-56 4d 11 22 33 44 55 66-77 88 99 aa bb cc dd ee", "VMware-56 4d 12 34 56 78 90 12-34 56 78 9a bc de f0 12",
	"VMware-42 1e 3d 5c 9f 0a 77 21-6b 8e 40 5d 1c f2 9a 03", "VirtualBox-5b9d2f70-6c1e-4c8a-9d3b-7f0a1e2d3c4b",
	"0000-0012-3456-7890-1234-56", "0000-0001-2345-6789-0123-4567-89", "6837-8834-7742-7290-5061-2487-75", "0000-0015-2093-8439-0741-1935-63", // Hyper-V
	"Parallels-9D 5E 01", "Parallels-12 34 56 78 9A BC DE F0 12 34 56 78 9A BC DE F0", // Parallels
	"QEMU-93c1fa02", "ec2a1b2c-3d4e-5f60-7182-93a4b5c6d7e8", "ec2e1916-9099-7caf-fd21-012345abcdef", "GoogleCloud-0123456789ABCDEF0123456789ABCDEA",
	"a1b2c3d4-e5f6-7890-abcd-ef1234567890", "4c4c4544-0051-3610-8052-b4c04f4e3732",
	"5CD1234ABC", "NXHKFEF00123456789ABCD", "NXVJEEK00182312ABC7600", "M5NXCV12P123456", "LRN0CX12B34567", "HVAB91GFB00123K", // Chromebooks, Acer, Asus, Samsung
	"R58M12ABCDE", "R5CT30XYZAB", "355123456789012", "356938035643809", "990000862471854", "ZY22ABCDEF", "8ARX0ABCDE", // phones
	"1CKSA12345", "RK123A0123", "Y1234567H", "DSBX012345", "YLKS123456", "K2204N0012345", "9S717F123456ZL2000123", "G6FN123004AB", // Panasonic, Getac, Toshiba, Fujitsu, MSI, Intel
	"MT7018058604137", "19123522501234", "S4711-0815", "FOC1234X56Y", "4321", "A12B", "123456780", "BOARD-77120", "CLONE-0042", "SN-A001", "SN-1001",
	"SERIAL: 5CG1234AAA", "Serial 48213377", "System-A1B2C3", "S/N PF2XYZ01", "TEST-0815X", "PC-0001", "OEM-8832193", "TILL-000042",
}

func TestPlaceholders(t *testing.T) {
	for _, s := range noSerials {
		t.Run("no serial "+s, func(t *testing.T) {
			if got, ok := NormalizeSerial(s); ok {
				t.Errorf("%q is taken for a serial number, %q", s, got)
			}
		})
	}
	for _, s := range serials {
		t.Run("serial "+s, func(t *testing.T) {
			if _, ok := NormalizeSerial(s); !ok {
				t.Errorf("%q is not taken for a serial number", s)
			}
		})
	}
}

// TestRandomSerialsAreReal makes up serial numbers as makers do: d is a digit,
// c a letter but for vowels, x either, h a hexadecimal digit.
func TestRandomSerialsAreReal(t *testing.T) {
	const alphabet, letters = "0123456789BCDFGHJKLMNPQRSTVWXYZ", "BCDFGHJKLMNPQRSTVWXYZ"
	forms := []string{
		"xxxxxx2", "xxxxxxx", "5CGddddxxx", "CNDddddxxx", "MXLddddxxx", "PFxxxxxx", "MJxxxxxx", "R9xxxxxx", "C02xxxxxxxxx", "cccxxxxxxx", "xxxxxxxxxx", "cdcxxxxxxxx",
		"0dddddddddddd", "dddddddddddd", "35ddddddddddddd", "R5xxxxxxxxx", "dddddddddd", "ddddddddd",
		"VMware-56 4d hh hh hh hh hh hh-hh hh hh hh hh hh hh hh", "Parallels-hh hh hh hh hh hh hh hh hh hh hh hh hh hh hh hh",
		"0000-00dd-dddd-dddd-dddd-dddd-dd", "dddd-dddd-dddd-dddd-dddd-dddd-dd", "hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh", "NXcccEK00dddddxxxdd00",
	}
	r := rand.New(rand.NewPCG(3, 14))
	for _, form := range forms {
		refused := 0
		for range 5_000 {
			s := strings.Map(func(c rune) rune {
				switch c {
				case 'd':
					return rune('0' + r.IntN(10))
				case 'c':
					return rune(letters[r.IntN(len(letters))])
				case 'x':
					return rune(alphabet[r.IntN(len(alphabet))])
				case 'h':
					return rune(fmt.Sprintf("%x", r.IntN(16))[0])
				}
				return c
			}, form)
			if _, ok := NormalizeSerial(s); !ok {
				if refused++; refused > 1 { // one in thousands is an accident
					t.Errorf("%s is not taken for a serial number, %s", s, form)
				}
			}
		}
	}
}

// TestTemplatesInAnySpelling varies the case, the spacing, the punctuation and
// the number of templates.
func TestTemplatesInAnySpelling(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 71))
	templates := []string{"to be filled by o e m", "default string", "system serial number", "not specified", "none", "null", "unknown", "invalid", "out of spec", "serial", "oem"}
	around := []string{"", " ", "<", ">", "\"", "\t", "\u200b", ".", "(", ")", "#", "_"}
	between := []string{" ", "", "-", "_", ".", "  "}
	numbers := []string{"", "0", "01", "1", "000", "12345678", "0123456789", "1111"}
	pick := func(s []string) string { return s[r.IntN(len(s))] }
	for range 5000 {
		parts := strings.Fields(pick(templates))
		for i := range parts {
			if r.IntN(2) == 0 {
				parts[i] = strings.ToUpper(parts[i])
			}
		}
		s := pick(around) + strings.Join(parts, pick(between)) + pick(between) + pick(numbers) + pick(around)
		if got, ok := NormalizeSerial(s); ok {
			t.Fatalf("%q is taken for a serial number, %q", s, got)
		}
	}
}
