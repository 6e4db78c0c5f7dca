// Loaded into the emulator's process before the emulator itself.
import { randomFillSync } from "node:crypto";
import { createRequire } from "node:module";

// When the parent's end of standard input closes, on Stop or because the parent
// ended in whatever way, the emulator ends too, in good order.
process.stdin.on("end", () => process.kill(process.pid, "SIGTERM")).resume();

// The emulator looks for a row by partition key first and then reads through
// the whole partition, so that filling one takes time by the square of its
// rows. Its database has an index of row keys as well: asked by row key first,
// it gives the same row at once.
const require = createRequire(import.meta.url);
const { Collection } = require("lokijs");
const findOne = Collection.prototype.findOne;
Collection.prototype.findOne = function (query) {
  if (query && "PartitionKey" in query && "RowKey" in query) {
    const { PartitionKey, ...rest } = query;
    query = { ...rest, PartitionKey };
  }
  return findOne.call(this, query);
};

// Worlds that share the emulator have an account each, which exists as soon as
// it is named, with the key of the built-in one.
const { default: AccountDataStore } = require("azurite/dist/src/common/AccountDataStore.js");
const getAccount = AccountDataStore.prototype.getAccount;
AccountDataStore.prototype.getAccount = function (name) {
  if (!/^sandbox[0-9]+$/.test(name)) {
    return getAccount.call(this, name);
  }
  return { ...getAccount.call(this, "devstoreaccount1"), name };
};

// The emulator makes an error for most answers that are not plain successes. Nobody
// reads where in its code that was.
Error.stackTraceLimit = 0;

const resolve = (name) => require.resolve(name, { paths: [require.resolve("azurite/package.json")] });
const replace = (name, exports) => {
  const filename = resolve(name);
  require.cache[filename] = { id: filename, filename, loaded: true, exports };
};

// What the emulator loads and never uses here, a database, telemetry, a client and a
// list of domains, is more than half of the time that it takes to start.
for (const name of ["sequelize", "applicationinsights", "axios", "psl"]) {
  replace(name, new Proxy({ __esModule: true }, { get: (known, key) => known[key] ?? class {} }));
}

// The templates that it holds each address against are made once, not for each
// request.
const make = require(resolve("uri-templates"));
const made = new Map();
replace("uri-templates", (text) => made.get(text) ?? made.set(text, make(text)).get(text));

// Random bytes for the id of each request come from the system many at a time.
const pool = Buffer.alloc(4096);
let used = pool.length;
replace("uuid/lib/rng.js", () => {
  if (used === pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  used += 16;
  return pool.subarray(used - 16, used);
});
