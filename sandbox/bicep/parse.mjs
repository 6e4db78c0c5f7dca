// Prints the syntax tree of the Bicep file that is named, as JSON: of each named
// node its type, the name of the field that it fills, its line, its text, and
// its children. Broken syntax has nodes of the types ERROR and MISSING.
import { readFile } from 'node:fs/promises';
import { Language, Parser } from 'web-tree-sitter';

const grammar = new URL('../node_modules/tree-sitter-bicep/tree-sitter-bicep.wasm', import.meta.url);

await Parser.init();
const parser = new Parser();
parser.setLanguage(await Language.load(await readFile(grammar)));

function plain(node, field) {
  const children = [];
  for (let i = 0; i < node.childCount; i++) {
    const child = node.child(i);
    if (child.isNamed || child.isError || child.isMissing) {
      children.push(plain(child, node.fieldNameForChild(i) ?? ''));
    }
  }
  return {
    type: node.isMissing ? 'MISSING' : node.isError ? 'ERROR' : node.type,
    field,
    line: node.startPosition.row + 1,
    text: node.text,
    children,
  };
}

const source = await readFile(process.argv[2], 'utf8');
process.stdout.write(JSON.stringify(plain(parser.parse(source).rootNode, '')));
