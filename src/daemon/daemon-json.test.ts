import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { GantryError } from "#base/errors.ts";
import { type DaemonSettings, keysAwaitingRestart, parseDaemonJson, readDaemonJson } from "./daemon-json.ts";
import { keysInForce, keysRefused } from "./daemon-json-keys.ts";
import { jsonComplaint } from "./daemon-json-syntax.ts";

const parse = (value: unknown): DaemonSettings => parseDaemonJson(JSON.stringify(value));

function complaint(value: unknown): string {
  try {
    parseDaemonJson(typeof value === "string" ? value : JSON.stringify(value));
  } catch (error) {
    assert.ok(error instanceof GantryError);
    assert.equal(error.code, "invalid");
    return error.message;
  }
  assert.fail(`${JSON.stringify(value)} was accepted`);
}

test("an empty file, white space and null ask for nothing", () => {
  const plain = parse({});
  assert.deepEqual(parseDaemonJson(""), plain);
  assert.deepEqual(parseDaemonJson(" \n\t"), plain);
  assert.deepEqual(parseDaemonJson("null"), plain);
  assert.deepEqual(parseDaemonJson("\uFEFF{}"), plain);
  assert.equal(plain.dataRoot, undefined);
  assert.equal(plain.logDriver, "json-file");
  assert.equal(plain.shmSize, 67_108_864);
  assert.equal(plain.liveRestore, true);
  assert.deepEqual([plain.maxConcurrentDownloads, plain.maxConcurrentUploads, plain.maxDownloadAttempts], [3, 5, 5]);
});

test("every key in force is read", () => {
  const settings = parse({
    "data-root": "/srv/containers/",
    "registry-mirrors": ["https://mirror.example:5000"],
    "insecure-registries": ["10.1.0.0/16", "registry.example:5000"],
    bip: "192.168.7.5/24",
    "fixed-cidr": "192.168.7.128/25",
    ipv6: true,
    "fixed-cidr-v6": "fd00:7::/64",
    icc: false,
    ip: "127.0.0.1",
    "ip-masq": false,
    mtu: 1400,
    "default-address-pools": [{ base: "172.30.0.0/16", size: 24 }],
    dns: ["10.9.9.9", "fd00::1"],
    "dns-opts": ["ndots:3"],
    "dns-search": ["corp.example"],
    "log-driver": "local",
    "log-opts": { "max-size": "5m", "max-file": "2" },
    "log-level": "warn",
    debug: false,
    labels: ["zone=a", "zone=a", "disk=ssd"],
    "exec-opts": ["native.cgroupdriver=cgroupfs"],
    "live-restore": false,
    "shutdown-timeout": 20,
    "max-concurrent-downloads": 7,
    "max-concurrent-uploads": 0,
    "max-download-attempts": 2,
    hosts: ["unix:///run/x.sock", "tcp://127.0.0.1:2400", "tcp://[::1]"],
    group: "root",
    tls: true,
    tlsverify: true,
    tlscacert: "/tls/ca.pem",
    tlscert: "/tls/cert.pem",
    tlskey: "/tls/key.pem",
    "storage-driver": "overlay2",
    "default-ulimits": { nofile: { Name: "nofile", Soft: 1024, Hard: 2048 } },
    "default-shm-size": "128M",
    "default-ipc-mode": "shareable",
    "default-cgroupns-mode": "private",
    "default-runtime": "runc",
    features: { buildkit: false },
    init: true,
    "userns-remap": "alice:staff",
  });
  const { values: _, ...rest } = settings;
  assert.deepEqual(rest, {
    dataRoot: "/srv/containers",
    network: {
      bip: { address: "192.168.7.5", subnet: "192.168.7.0/24" },
      fixedCidr: "192.168.7.128/25",
      fixedCidr6: "fd00:7::/64",
      ipv6: true,
      icc: false,
      masquerade: false,
      hostBinding: "127.0.0.1",
      mtu: 1400,
      pools: [{ base: "172.30.0.0/16", size: 24 }],
    },
    dns: { servers: ["10.9.9.9", "fd00::1"], searches: ["corp.example"], options: ["ndots:3"] },
    registryMirrors: ["https://mirror.example:5000/"],
    insecureRegistries: ["10.1.0.0/16", "registry.example:5000"],
    maxConcurrentDownloads: 7,
    maxConcurrentUploads: 5,
    maxDownloadAttempts: 2,
    logDriver: "local",
    logOptions: { "max-size": "5m", "max-file": "2" },
    debug: false,
    logLevel: "warn",
    labels: ["zone=a", "disk=ssd"],
    features: { buildkit: false },
    liveRestore: false,
    shutdownTimeout: 20,
    listeners: [
      { kind: "unix", path: "/run/x.sock" },
      { kind: "tcp", host: "127.0.0.1", port: 2400 },
      { kind: "tcp", host: "::1", port: 2376 },
    ],
    tls: { ca: "/tls/ca.pem", cert: "/tls/cert.pem", key: "/tls/key.pem" },
    socketGroup: 0,
    ulimits: [{ Name: "nofile", Soft: 1024, Hard: 2048 }],
    shmSize: 128 * 1024 * 1024,
    ipcMode: "shareable",
    cgroupnsMode: "private",
    defaultRuntime: "runc",
    init: true,
    usernsRemap: "alice:staff",
    warnings: [],
  });
});

test("what is not JSON is refused with the character that does not fit", () => {
  const words: [string, string][] = [
    ['{"debug": true,}', "invalid character '}' looking for beginning of object key string"],
    ['{"debug" true}', "invalid character 't' after object key"],
    ['{"debug": true "x": 1}', "invalid character '\"' after object key:value pair"],
    ['{"dns": ["a" "b"]}', "invalid character '\"' after array element"],
    ["{} x", "invalid character 'x' after top-level value"],
    ["{'debug': true}", "invalid character '\\'' looking for beginning of object key string"],
    ['{"debug": yes}', "invalid character 'y' looking for beginning of value"],
    ['{"debug": truE}', "invalid character 'E' in literal true (expecting 'e')"],
    ['{"a": "\n"}', "invalid character '\\n' in string literal"],
    ['{"a": "\\x"}', "invalid character 'x' in string escape code"],
    ['{"a": "\\u12g4"}', "invalid character 'g' in \\u hexadecimal character escape"],
    ['{"mtu": -x}', "invalid character 'x' in numeric literal"],
    ['{"mtu": 1.x}', "invalid character 'x' after decimal point in numeric literal"],
    ['{"mtu": 1e}', "invalid character '}' in exponent of numeric literal"],
    ['{"debug": true', "unexpected end of JSON input"],
    ["{", "unexpected end of JSON input"],
  ];
  for (const [text, message] of words) assert.equal(complaint(text), message, text);
});

test("the scanner and JSON.parse agree on what is JSON", () => {
  const isJson = (text: string): boolean => {
    try {
      JSON.parse(text);
      return true;
    } catch {
      return false;
    }
  };
  fc.assert(
    fc.property(fc.oneof(fc.json(), fc.string({ unit: fc.constantFrom(...'{}[]",:\\u01e-.+ trufalsn\n') })), (text) => {
      assert.equal(jsonComplaint(text) === undefined, isJson(text), text);
    }),
    { numRuns: 2_000 },
  );
});

test("unknown keys are named, all of them", () => {
  assert.equal(
    complaint({ zebra: 1, debug: true, data_root: "/x" }),
    "the following directives don't match any configuration option: data_root, zebra",
  );
  assert.match(complaint('{"__proto__": {}}'), /don't match any configuration option: __proto__$/);
  assert.match(complaint('{"constructor": 1}'), /don't match any configuration option: constructor$/);
});

test("a value of another kind is refused for every key", () => {
  const kinds: [unknown, string][] = [
    [true, "bool"],
    [1, "number"],
    ["x", "string"],
    [[1], "array"],
    [{ x: 1 }, "object"],
  ];
  const fits: Record<string, string[]> = {
    bool: ["bool"],
    int: ["number"],
    string: ["string"],
    strings: [],
    stringMap: [],
    boolMap: [],
    objects: [],
    objectMap: [],
    size: ["number", "string"],
  };
  const shapes = { ...keysInForce, ...Object.fromEntries(Object.entries(keysRefused).map(([k, v]) => [k, v.shape])) };
  for (const [key, shape] of Object.entries(shapes)) {
    for (const [value, kind] of kinds) {
      if ((fits[shape] as string[]).includes(kind)) continue;
      if (kind === "object" && shape === "objectMap" && key !== "default-ulimits") continue;
      assert.match(
        complaint({ [key]: value }),
        new RegExp(`^json: cannot unmarshal \\w+( 1)? into Go struct field Config\\.${key} of type `),
      );
    }
  }
  assert.equal(
    complaint({ debug: "yes" }),
    "json: cannot unmarshal string into Go struct field Config.debug of type bool",
  );
  assert.equal(
    complaint({ mtu: 1.5 }),
    "json: cannot unmarshal number 1.5 into Go struct field Config.mtu of type int",
  );
  assert.equal(complaint({ dns: [1] }), "json: cannot unmarshal number into Go struct field Config.dns of type string");
  assert.equal(complaint([]), "json: cannot unmarshal array into Go value of type map[string]interface {}");
});

test("dockerd's other keys are refused by name, unless they ask for what is so anyway", () => {
  for (const [key, { shape, fine = [] }] of Object.entries(keysRefused)) {
    const samples: Record<string, unknown[]> = {
      bool: [true, false],
      int: [1, 77],
      string: ["x"],
      strings: [["x"]],
      objectMap: [{ x: {} }],
    };
    for (const sample of samples[shape] ?? assert.fail(shape)) {
      if (fine.includes(JSON.stringify(sample))) parse({ [key]: sample });
      else
        assert.match(complaint({ [key]: sample }), new RegExp(`^the directive ${key} is not supported by Gantry: .`));
    }
  }
  parse({ runtimes: {}, iptables: true, "selinux-enabled": false, "storage-opts": [] });
});

test("values that cannot be are refused", () => {
  const words: [object, RegExp | string][] = [
    ...["a:b:c", ":", "alice:", ":staff"].map((text): [object, string] => [
      { "userns-remap": text },
      `Invalid user/group specification in --userns-remap: "${text}"`,
    ]),
    [{ bip: "192.168.1.5" }, "invalid CIDR address: 192.168.1.5"],
    [{ bip: "192.168.1.0/24" }, /^bip: 192\.168\.1\.0\/24 is not the address of a bridge/],
    [{ bip: "fd00::1/64" }, "invalid CIDR address: fd00::1/64"],
    [{ bip: "192.168.1.1/24", "fixed-cidr": "192.168.2.0/25" }, /is not inside the network$/],
    [{ "fixed-cidr-v6": "fd00::/64" }, 'fixed-cidr-v6 needs "ipv6": true'],
    [{ mtu: 20 }, "invalid default MTU: 20"],
    [{ ip: "fd00::1" }, "invalid IP address: fd00::1"],
    [{ dns: ["8.8.8"] }, "invalid IP address: 8.8.8"],
    [{ "default-address-pools": [{ base: "10.0.0.0/8", size: 4 }] }, /^the size of pool 10\.0\.0\.0\/8 must be/],
    [{ "default-address-pools": [{ base: "ten", size: 24 }] }, /^invalid base pool "ten"/],
    [{ "default-address-pools": [{ base: "10.0.0.0/8", size: 24, x: 1 }] }, /unknown field "x"$/],
    [
      {
        "default-address-pools": [
          { base: "10.0.0.0/8", size: 24 },
          { base: "10.1.0.0/16", size: 24 },
        ],
      },
      /overlaps another pool$/,
    ],
    [{ "registry-mirrors": ["ftp://x"] }, /unsupported scheme "ftp"/],
    [{ "registry-mirrors": ["no address"] }, 'invalid mirror: "no address" is not a valid URI'],
    [{ "registry-mirrors": ["https://a:b@x"] }, /username\/password not allowed/],
    [{ "registry-mirrors": ["https://x?y"] }, /query or fragment/],
    [{ "insecure-registries": ["svn://x"] }, "insecure registry svn://x should not contain '://'"],
    [{ "insecure-registries": ["-x"] }, /Cannot begin or end with a hyphen$/],
    [{ "insecure-registries": ["x:99999"] }, /invalid port "99999"$/],
    [{ "log-driver": "syslog" }, "logger: no log driver named 'syslog' is registered"],
    [{ "log-opts": { color: "red" } }, "failed to set log opts: unknown log opt 'color' for json-file log driver"],
    [{ "log-opts": { "max-size": "big" } }, "failed to set log opts: invalid size: 'big'"],
    [{ "log-opts": { "max-file": "0" } }, "failed to set log opts: max-file cannot be less than 1"],
    [{ "log-level": "loud" }, "unable to parse logging level: loud"],
    [{ labels: ["a"] }, "bad attribute format: a"],
    [{ labels: ["a=1", "a=2"] }, "conflict labels for a=2 and a=1"],
    [{ "exec-opts": ["native.cgroupdriver=systemd"] }, /systemd is not supported by Gantry/],
    [{ "exec-opts": ["isolation=hyperv"] }, /^invalid exec-opt/],
    [{ "max-concurrent-downloads": -1 }, "invalid max concurrent downloads: -1"],
    [{ "max-concurrent-uploads": -1 }, "invalid max concurrent uploads: -1"],
    [{ "max-download-attempts": 0 }, "invalid max download attempts: 0"],
    [{ "storage-driver": "btrfs" }, "error initializing graphdriver: driver not supported: btrfs"],
    [{ "default-ulimits": { nofile: { Soft: 2, Hard: 1 } } }, /soft limit must be less/],
    [{ "default-ulimits": { files: { Soft: 1, Hard: 1 } } }, "invalid ulimit type: files"],
    [{ "default-ulimits": { nofile: { Sort: 1 } } }, /unknown field "sort" of nofile$/],
    [{ "default-shm-size": "x" }, "invalid size: 'x'"],
    [{ "default-ipc-mode": "host" }, "IPC can only be set to private or shareable, not: host"],
    [{ "default-runtime": "kata" }, "specified default runtime does not exist: kata"],
    [{ features: { "containerd-snapshotter": true } }, /^the feature containerd-snapshotter is not supported/],
    [{ "data-root": "srv" }, "data-root: srv is not an absolute path"],
    [{ "data-root": "/" }, "data-root: / cannot be the data root"],
    [{ graph: "/a", "data-root": "/b" }, 'cannot specify both "graph" and "data-root" config file options'],
    [{ group: "no-such-group-here" }, "group no-such-group-here not found"],
    [{ "shutdown-timeout": -2 }, "invalid shutdown-timeout: -2"],
  ];
  for (const [value, message] of words) {
    if (typeof message === "string") assert.equal(complaint(value), message);
    else assert.match(complaint(value), message);
  }
});

test("TCP is served to holders of certificates only; sockets of systemd and Windows are refused", () => {
  assert.match(complaint({ hosts: ["tcp://127.0.0.1:2375"] }), /needs "tlsverify": true/);
  assert.match(complaint({ hosts: ["tcp://127.0.0.1:2376"], tls: true }), /needs "tlsverify": true/);
  assert.match(complaint({ hosts: ["fd://"] }), /takes no sockets from systemd/);
  assert.match(complaint({ hosts: ["npipe:////./pipe/docker"] }), /Windows/);
  assert.equal(complaint({ hosts: ["udp://1"] }), "invalid bind address format: udp://1");
  assert.equal(complaint({ hosts: ["tcp://x:99999"], tlsverify: true }), "invalid bind address format: tcp://x:99999");
  assert.equal(complaint({ hosts: ["unix://x"] }), "invalid bind address format: unix://x");
  assert.deepEqual(parse({ hosts: ["tcp://:2400"], tlsverify: true }).listeners, [
    { kind: "tcp", host: "127.0.0.1", port: 2400 },
  ]);
});

test("old and half-supported keys are read with a warning", () => {
  const old = parse({ graph: "/srv/old" });
  assert.equal(old.dataRoot, "/srv/old");
  assert.match(old.warnings.join(), /"graph" config file option is deprecated/);
  assert.match(parse({ features: { buildkit: true } }).warnings.join(), /buildkit/);
  const plain = parse({ "insecure-registries": ["http://registry.example:80"] });
  assert.deepEqual(plain.insecureRegistries, ["registry.example:80"]);
  assert.equal(plain.warnings.length, 1);
});

test("the file of an instance may be absent, a named one may not", () => {
  const root = mkdtempSync(join(tmpdir(), "gantry-daemon-json-"));
  try {
    assert.deepEqual(readDaemonJson({ root }).labels, []);
    writeFileSync(join(root, "daemon.json"), '{"labels": ["a=1"]}');
    assert.deepEqual(readDaemonJson({ root }).labels, ["a=1"]);
    const file = join(root, "named.json");
    assert.throws(() => readDaemonJson({ root, configFile: file }), {
      message: `unable to configure the Docker daemon with file ${file}: open ${file}: no such file or directory`,
    });
    writeFileSync(file, "{,}");
    assert.throws(() => readDaemonJson({ root, configFile: file }), {
      message: `unable to configure the Docker daemon with file ${file}: invalid character ',' looking for beginning of object key string`,
    });
  } finally {
    rmSync(root, { recursive: true });
  }
});

test("a reload names the keys that wait for a new start", () => {
  const before = parse({ bip: "10.1.0.1/24", labels: ["a=1"], debug: true });
  const after = parse({ bip: "10.2.0.1/24", labels: ["a=2"], init: true });
  assert.deepEqual(keysAwaitingRestart(before.values, after.values), ["bip", "init"]);
});
