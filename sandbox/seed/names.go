package seed

var firstNames = []string{
	"Ada", "Adele", "Amir", "Anika", "Ben", "Beatriz", "Callum", "Carla", "Chidi", "Clara", "Dagny", "Dario", "Edith",
	"Elif", "Emil", "Esme", "Farid", "Fiona", "Gareth", "Greta", "Hanna", "Hugo", "Ines", "Ivo", "Jana", "Jasper",
	"Kasimir", "Keira", "Lars", "Leila", "Linus", "Lucia", "Maeve", "Marek", "Mina", "Nadia", "Nils", "Noor", "Olga",
	"Oscar", "Paola", "Pim", "Quentin", "Rania", "Rhys", "Rosa", "Samir", "Sanne", "Signe", "Tariq", "Tessa", "Ulrik",
	"Uma", "Vera", "Viktor", "Wanda", "Willem", "Yara", "Yusuf", "Zoe",
}

var lastNames = []string{
	"Abbot", "Akande", "Alder", "Bakker", "Barrow", "Bellweather", "Castell", "Cerny", "Coldwell", "Dahl", "Dorsey",
	"Eklund", "Ellery", "Fairburn", "Ferrante", "Garrick", "Gallo", "Hallam", "Hartig", "Ibsen", "Ilves", "Jankowski",
	"Jessop", "Kestrel", "Kovar", "Lindqvist", "Lockhart", "Madaki", "Marchetti", "Norwood", "Nyberg", "Okafor",
	"Oswin", "Pemberton", "Petrov", "Quill", "Rademaker", "Rowntree", "Saldana", "Sorensen", "Thackeray", "Tolland",
	"Ueda", "Underhill", "Vance-Moor", "Verhoeven", "Wetherby", "Winther", "Yilmaz", "Zeller",
}

var departments = []string{"Operations", "Finance", "Sales", "Warehouse", "IT", "Human Resources", "Marketing", "Management"}

var titles = []string{"Coordinator", "Manager", "Assistant", "Analyst", "Director", "Clerk", "Specialist", "Team Lead"}

var cities = []string{"Ostholm", "Brackwater", "Penhallow", "Lindenau", "Veldhaven"}

type model struct {
	manufacturer, name, chassis, serialPrefix string
	serialLength                              int
}

var windowsModels = []model{
	{"Dell Inc.", "Latitude 5540", "Laptop", "", 7},
	{"HP", "HP EliteBook 840 14 inch G10 Notebook PC", "Laptop", "5CG", 10},
	{"LENOVO", "ThinkPad T14 Gen 4", "Laptop", "PF", 8},
	{"Microsoft Corporation", "Surface Laptop 5", "Laptop", "0F", 12},
	{"Dell Inc.", "OptiPlex 7010", "Desktop", "", 7},
	{"LENOVO", "ThinkCentre M70q", "Desktop", "MJ", 8},
}

var macModels = []model{
	{"Apple", "MacBook Pro (14-inch, 2023)", "Laptop", "C02", 12},
	{"Apple", "Mac mini (2023)", "Desktop", "H2W", 10},
}

// awkwardNames try everything that may stand in a name and break a page.
var awkwardNames = []string{
	`<script>alert("name")</script>`,
	`O'Malley & "Sons" <sales@elan.example>`,
	`</td></tr></table><h1>Big</h1>`,
	"محمد العربي",
	"שרה כהן-לוי",
	"👩‍💻 Zoë 🚀 Ünal",
	"\u202egnp.exe\u200f Reverse",
	`{{7*7}} ${7*7} <%= 7*7 %>`,
	`"><img src=x onerror=alert(1)>`,
	"山田 太郎 (経理)",
	"Tab\tand\nnewline",
	`=HYPERLINK("http://evil.example","x")`,
	`javascript:alert(1)//`,
	"Ñandú Ægir Ðorður ﬁﬂ",
	"&lt;already escaped&gt; &amp;amp;",
	`C:\Temp\"quoted"\`,
}
