import assert from "node:assert/strict";
import { parseSignal } from "#base/signal.ts";
import { test } from "node:test";
import fc from "fast-check";
import { GantryError } from "#base/errors.ts";
import { capabilitySet } from "./capabilities.ts";
import { validateCreate } from "./create-validation.ts";
import { DetachScanner, parseDetachKeys } from "./detach-keys.ts";
import { EventLog } from "./event-log.ts";
import { commandLine, mergeConfig } from "./image-config-merge.ts";
import { environment } from "./launch-plan.ts";
import { parseBind, parseMount, plannedMounts, tmpfsOptions } from "./mount-spec.ts";
import { checkName, randomName } from "./names.ts";
import { parsePortKey, publishRequests } from "./port-spec.ts";
import { isStartedAtBoot, nextRestart } from "./restart-policy.ts";
import { untilFilter } from "./filters.ts";
import { goDuration, humanDuration, parseUserTime } from "./timestamps.ts";
import { ManualClock } from "#base/clock.ts";

test("detach keys are found wherever chunks break, and what is not them goes on unchanged", () => {
  assert.deepEqual([...parseDetachKeys("ctrl-p,ctrl-q")], [16, 17]);
  assert.deepEqual([...parseDetachKeys("ctrl-@,a,ctrl-_")], [0, 97, 31]);
  assert.throws(() => parseDetachKeys("ctrl-pp"), { message: "Invalid detach keys (ctrl-pp) provided" });
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ max: 18, maxLength: 6 })), (chunks) => {
      const scanner = new DetachScanner(Buffer.from([16, 17]));
      const all = Buffer.concat(chunks);
      const at = all.indexOf(Buffer.from([16, 17]));
      const passed: Buffer[] = [];
      let isDetached = false;
      for (const chunk of chunks) {
        const { pass, isDetach } = scanner.push(chunk);
        passed.push(pass);
        if (isDetach) {
          isDetached = true;
          break;
        }
      }
      assert.equal(isDetached, at >= 0);
      const expected = at >= 0 ? all.subarray(0, at) : all.at(-1) === 16 ? all.subarray(0, -1) : all;
      assert.deepEqual(Buffer.concat(passed), Buffer.from(expected));
    }),
  );
});

test("the back-off doubles up to a minute, starts afresh after ten seconds of life, and ends with the policy", () => {
  const facts = { exitCode: 1, stoppedByUser: false, restartCount: 0, ranMs: 5, lastDelayMs: 0 };
  assert.equal(nextRestart({ Name: "always" }, facts), 100);
  assert.equal(nextRestart({ Name: "always" }, { ...facts, lastDelayMs: 100 }), 200);
  assert.equal(nextRestart({ Name: "always" }, { ...facts, lastDelayMs: 51_200 }), 60_000);
  assert.equal(nextRestart({ Name: "always" }, { ...facts, lastDelayMs: 51_200, ranMs: 10_000 }), 100);
  assert.equal(nextRestart({ Name: "unless-stopped" }, { ...facts, stoppedByUser: true }), undefined);
  assert.equal(nextRestart({ Name: "on-failure", MaximumRetryCount: 3 }, { ...facts, restartCount: 3 }), undefined);
  assert.equal(nextRestart({ Name: "on-failure" }, { ...facts, exitCode: 0 }), undefined);
  assert.equal(nextRestart({ Name: "no" }, facts), undefined);
});

test("with the daemon start containers whose policy says so of their last end", () => {
  const facts = { exitCode: 1, stoppedByUser: true, restartCount: 2, hasRun: true };
  assert.equal(isStartedAtBoot({ Name: "always" }, facts), true);
  assert.equal(isStartedAtBoot({ Name: "always" }, { ...facts, hasRun: false }), false);
  assert.equal(isStartedAtBoot({ Name: "unless-stopped" }, facts), false);
  assert.equal(isStartedAtBoot({ Name: "unless-stopped" }, { ...facts, stoppedByUser: false }), true);
  assert.equal(isStartedAtBoot({ Name: "on-failure" }, facts), true);
  assert.equal(isStartedAtBoot({ Name: "on-failure" }, { ...facts, exitCode: 0 }), false);
  assert.equal(isStartedAtBoot({ Name: "on-failure", MaximumRetryCount: 2 }, facts), false);
  assert.equal(isStartedAtBoot({ Name: "no" }, facts), false);
});

test("entrypoint and command come from user and image by docker's rules", () => {
  const image = { Entrypoint: ["/entry"], Cmd: ["default"], Env: ["A=1", "B=2"] };
  const line = (user: Parameters<typeof mergeConfig>[0]): string[] => commandLine(mergeConfig(user, image));
  assert.deepEqual(line({}), ["/entry", "default"]);
  assert.deepEqual(line({ Cmd: ["x"] }), ["/entry", "x"]);
  assert.deepEqual(line({ Entrypoint: ["sh"], Cmd: [] }), ["sh"].concat(["default"].slice(1)));
  assert.deepEqual(line({ Entrypoint: [""], Cmd: ["x"] }), ["x"]);
  assert.throws(() => mergeConfig({}, {}), { message: "no command specified" });
  assert.deepEqual(mergeConfig({ Env: ["A=9"] }, image).Env, ["A=9", "B=2"]);
});

test("binds, mounts and volumes are read in all their forms", () => {
  assert.deepEqual(parseBind("/a/:/b/:ro,rslave", "").Propagation, "rslave");
  assert.deepEqual([parseBind("name:/b", "").Type, parseBind("/x", "").Name], ["volume", ""]);
  for (const bad of ["", ":/a", "a:b:c:d", "/a:b", "/a:/", "/a:/b:ro,rw", "n:/a:rslave"]) {
    assert.throws(() => parseBind(bad, ""), { code: "invalid" }, bad);
  }
  assert.throws(() => parseMount({ Type: "tmpfs", Target: "/a", Source: "/b" }), {
    message: 'invalid mount config for type "tmpfs": field Source must not be specified',
  });
  const own = plannedMounts({ Binds: ["/m:/data"] }, ["/data", "/more"], []);
  assert.deepEqual(
    own.map(({ Type, Destination }) => [Type, Destination]),
    [
      ["bind", "/data"],
      ["volume", "/more"],
    ],
  );
});

test("ports: ranges, -P, and nonsense", () => {
  assert.deepEqual(parsePortKey("8000-8002/udp"), { protocol: "udp", from: 8000, to: 8002 });
  for (const bad of ["", "x", "80/quic", "70000/tcp", "0", "5-3", "80/tcp/x"])
    assert.throws(() => parsePortKey(bad), { code: "invalid" });
  assert.deepEqual(
    publishRequests(
      { PublishAllPorts: true, PortBindings: { "80/tcp": [{ HostIp: "", HostPort: "8080" }] } },
      { "80/tcp": {}, "53/udp": {} },
    ),
    [
      { protocol: "tcp", containerPort: 80, hostIp: "", hostPort: { from: 8080, to: 8080 } },
      { protocol: "udp", containerPort: 53, hostIp: "" },
    ],
  );
});

test("environment: the last of a name counts, a name alone removes", () => {
  const env = environment(["A=1", "A=2", "PATH"], { hostname: "h", tty: true, home: "/root", linkEnv: [] });
  assert.deepEqual(env, ["HOSTNAME=h", "TERM=xterm", "A=2", "HOME=/root"]);
});

test("capabilities: all but one, none but one", () => {
  assert.deepEqual(capabilitySet({ add: ["CHOWN"], drop: ["all"], privileged: false }), ["CAP_CHOWN"]);
  assert.ok(!capabilitySet({ add: ["ALL"], drop: ["cap_sys_time"], privileged: false }).includes("CAP_SYS_TIME"));
});

test("signals by name and number", () => {
  assert.deepEqual(["SIGTERM", "hup", "9", "RTMIN+1"].map(parseSignal), [15, 1, 9, 35]);
  // As with docker, any other number is left to the kernel.
  assert.equal(parseSignal("65"), 65);
  for (const bad of ["", "SIGNOPE", "0", "1x"])
    assert.throws(() => parseSignal(bad), { message: `invalid signal: ${bad}` });
});

test("durations and times as docker words them", () => {
  assert.deepEqual([300, 1000, 59_000, 61_000, 120_000, 3_600_000, 86_400_000 * 3].map(humanDuration), [
    "Less than a second",
    "1 second",
    "59 seconds",
    "About a minute",
    "2 minutes",
    "About an hour",
    "3 days",
  ]);
  assert.equal(parseUserTime("1h30m", 10_000_000), 10_000_000 - 5_400_000);
  assert.equal(parseUserTime("-1.5s", 0), 1500);
  assert.equal(parseUserTime("2026-01-02T03:04:05Z", 0), Date.UTC(2026, 0, 2, 3, 4, 5));
  for (const text of ["nonsense", "", "1d", "1h5x", "zzz 1", "2026-01-02x"])
    assert.throws(() => parseUserTime(text, 0), {
      code: "invalid",
      message: `failed to parse value as time or duration: "${text}"`,
    });
  assert.equal(untilFilter({}, 0), undefined);
  assert.throws(() => untilFilter({ until: ["1h", "2h"] }, 0), { message: "more than one until filter specified" });
});

test("names: always fresh, and only what docker takes", () => {
  const taken = new Set<string>();
  for (let count = 0; count < 2000; count++) taken.add(randomName((name) => taken.has(name)));
  assert.equal(taken.size, 2000);
  for (const name of taken) assert.equal(checkName(name), name);
  for (const bad of ["", "a", "-a", "a/b", "ä b"]) assert.throws(() => checkName(bad), { code: "invalid" });
});

test("whatever a create request holds, it is taken or refused with a code, never broken on", () => {
  const host = fc.record(
    {
      Memory: fc.integer(),
      MemorySwap: fc.integer(),
      NanoCpus: fc.integer(),
      CpusetCpus: fc.string(),
      NetworkMode: fc.string(),
      PidMode: fc.string(),
      IpcMode: fc.string(),
      Binds: fc.array(fc.string(), { maxLength: 3 }),
      CapAdd: fc.array(fc.string(), { maxLength: 2 }),
      PortBindings: fc.dictionary(
        fc.string(),
        fc.array(fc.record({ HostIp: fc.string(), HostPort: fc.string() }), { maxLength: 2 }),
      ),
      RestartPolicy: fc.record({ Name: fc.string() as fc.Arbitrary<"no">, MaximumRetryCount: fc.integer() }),
      SecurityOpt: fc.array(fc.string(), { maxLength: 2 }),
      Tmpfs: fc.dictionary(fc.string(), fc.string()),
      ExtraHosts: fc.array(fc.string(), { maxLength: 2 }),
    },
    { requiredKeys: [] },
  );
  const body = fc.record(
    {
      WorkingDir: fc.string(),
      Env: fc.array(fc.string(), { maxLength: 3 }),
      Hostname: fc.string(),
      StopSignal: fc.string(),
      Volumes: fc.dictionary(fc.string(), fc.constant({})),
      HostConfig: host,
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(body, (request) => {
      try {
        validateCreate(request);
        plannedMounts(request.HostConfig ?? {}, Object.keys(request.Volumes ?? {}), []);
      } catch (error) {
        assert.ok(error instanceof GantryError, String((error as Error).stack));
      }
    }),
    { numRuns: 500 },
  );
});

test("past events come by since, live ones follow, the filter holds, and until ends it", async () => {
  const clock = new ManualClock();
  const log = new EventLog(clock);
  log.emit("container", "start", "a".repeat(64), { name: "one", image: "x" });
  log.emit("image", "tag", "sha256:1", { name: "x:1" });
  const abort = new AbortController();
  const seen: string[] = [];
  const reading = (async () => {
    for await (const { Action } of log.subscribe({
      since: 0,
      filters: { type: ["container"], container: ["one"] },
      signal: abort.signal,
    }))
      seen.push(Action);
  })();
  log.emit("container", "die", "a".repeat(64), { name: "one", image: "x" });
  log.emit("container", "die", "b".repeat(64), { name: "two", image: "x" });
  abort.abort();
  await reading;
  assert.deepEqual(seen, ["start", "die"]);
});

test("a tmpfs keeps docker's caution but for what is lifted, and the last word counts", () => {
  assert.deepEqual(tmpfsOptions([]), ["noexec", "nosuid", "nodev"]);
  assert.deepEqual(tmpfsOptions(["exec", "size=1m", "size=2m"]), ["nosuid", "nodev", "exec", "size=2m"]);
  assert.deepEqual(tmpfsOptions(["rw", "ro", "suid", "dev", "exec"]), ["ro", "suid", "dev", "exec"]);
});

test("durations are printed as Go prints them", () => {
  assert.deepEqual([300, 1500, 60_000, 7_230_000].map(goDuration), ["300ms", "1.5s", "1m0s", "2h0m30s"]);
});
