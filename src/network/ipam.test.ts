import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  addressOfReverseName,
  canonicalAddress,
  cidrContains,
  cidrOverlaps,
  formatCidr,
  macFromIPv4,
  parseAddress,
  parseCidr,
  requireCidr,
  reverseName,
} from "./addresses.ts";
import { AddressPool, pickSubnet } from "./ipam.ts";

test("addresses are read and written in their canonical form", () => {
  assert.equal(canonicalAddress("FD00:0:0:0:0:0:0:1"), "fd00::1");
  assert.equal(canonicalAddress("::ffff:10.0.0.1"), "::ffff:a00:1");
  assert.equal(canonicalAddress("::"), "::");
  assert.equal(canonicalAddress("2001:db8:0:1:1:1:1:1"), "2001:db8:0:1:1:1:1:1");
  assert.equal(canonicalAddress("1.2.3"), undefined);
  assert.equal(canonicalAddress("fe80::1%eth0"), undefined);
  assert.equal(parseCidr("10.0.0.1/33"), undefined);
  assert.equal(parseCidr("10.1.2.3/8")?.hasHostBits, true);
  assert.equal(macFromIPv4("172.17.0.2"), "02:42:ac:11:00:02");
});

test("reverse names lead back to the address", () => {
  assert.equal(reverseName("10.64.0.5"), "5.0.64.10.in-addr.arpa");
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (address) => {
      assert.equal(addressOfReverseName(reverseName(address)), canonicalAddress(address));
    }),
    { numRuns: 200 },
  );
});

test("a pool gives the lowest free address and never the network's own or the broadcast address", () => {
  const pool = new AddressPool({ subnet: requireCidr("10.0.0.0/29") });
  pool.reserve("10.0.0.1");
  const given = Array.from({ length: 5 }, () => pool.allocate());
  assert.deepEqual(given, ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]);
  assert.throws(() => pool.allocate(), /no available IPv4 addresses on this network's address pools/);
  pool.release("10.0.0.4");
  assert.equal(pool.allocate(), "10.0.0.4");
});

test("a pool that goes round does not give an address again at once", () => {
  const pool = new AddressPool({ subnet: requireCidr("10.0.0.0/29"), order: "next" });
  assert.equal(pool.allocate(), "10.0.0.1");
  pool.release("10.0.0.1");
  assert.equal(pool.allocate(), "10.0.0.2");
});

test("dynamic addresses stay in the ip-range, fixed ones in the subnet", () => {
  const pool = new AddressPool({ subnet: requireCidr("10.0.0.0/16"), range: requireCidr("10.0.5.0/30") });
  assert.equal(pool.allocate(), "10.0.5.0");
  pool.reserve("10.0.9.9");
  assert.throws(() => pool.reserve("10.0.9.9"), { message: "Address already in use", code: "forbidden" });
  assert.throws(() => pool.reserve("10.1.0.1"), /out of range/);
});

test("a huge IPv6 subnet is no problem", () => {
  const pool = new AddressPool({ subnet: requireCidr("fd00:1::/64") });
  assert.equal(pool.allocate(), "fd00:1::1");
  assert.equal(pool.allocate(), "fd00:1::2");
});

test("whatever is allocated and released, no address is given twice", () => {
  fc.assert(
    fc.property(
      fc.constantFrom("lowest" as const, "next" as const),
      fc.array(fc.integer({ min: -1, max: 12 })),
      (order, steps) => {
        const subnet = requireCidr("10.0.0.0/28");
        const pool = new AddressPool({ subnet, order });
        const held: string[] = [];
        for (const step of steps) {
          if (step < 0) {
            if (held.length === 14) assert.throws(() => pool.allocate());
            else {
              const address = pool.allocate();
              const parsed = parseAddress(address);
              assert.ok(parsed !== undefined && cidrContains(subnet, parsed.family, parsed.value));
              assert.ok(!held.includes(address));
              held.push(address);
            }
          } else if (held[step] !== undefined) {
            pool.release(held[step]);
            held.splice(step, 1);
          }
        }
      },
    ),
  );
});

test("subnets come from the pools in order and step over what is taken", () => {
  const pools = [{ base: "10.10.0.0/22", size: 24 }];
  const taken = [requireCidr("10.10.0.128/25"), requireCidr("10.10.1.0/24"), requireCidr("10.10.3.7/32")];
  assert.equal(formatCidr(pickSubnet(pools, 4, taken)), "10.10.2.0/24");
  assert.throws(() => pickSubnet(pools, 4, [...taken, requireCidr("10.10.2.0/23")]), {
    message: "all predefined address pools have been fully subnetted",
  });
  assert.throws(() => pickSubnet(pools, 6, []), /fully subnetted/);
});

test("the first gap is found whatever is taken, in whatever order", () => {
  const pools = [{ base: "10.10.0.0/24", size: 28 }];
  const block = fc.record({ at: fc.integer({ min: 0, max: 255 }), prefix: fc.integer({ min: 24, max: 32 }) });
  fc.assert(
    fc.property(fc.array(block, { maxLength: 12 }), (blocks) => {
      const taken = blocks.map(({ at, prefix }) => {
        const size = 2 ** (32 - prefix);
        return requireCidr(`10.10.0.${Math.floor(at / size) * size}/${prefix}`);
      });
      const free = Array.from({ length: 16 }, (_, index) => requireCidr(`10.10.0.${index * 16}/28`)).find(
        (candidate) => !taken.some((cidr) => cidrOverlaps(cidr, candidate)),
      );
      if (free === undefined) assert.throws(() => pickSubnet(pools, 4, taken), /fully subnetted/);
      else assert.equal(formatCidr(pickSubnet(pools, 4, taken)), formatCidr(free));
    }),
  );
});
