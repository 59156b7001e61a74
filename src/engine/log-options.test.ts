import assert from "node:assert/strict";
import { test } from "node:test";
import type { Container } from "./container.ts";
import { logAttributes, logTag } from "./log-attributes.ts";
import { checkLogOptions, logBounds } from "./log-options.ts";
import { openingLogPlan } from "./log-plan.ts";

test("at create the names of options are looked at, in docker's words", () => {
  checkLogOptions("json-file", { "max-size": "zz", labels: "a", mode: "non-blocking", "max-buffer-size": "1m" });
  checkLogOptions("none", { anything: "goes" });
  for (const [driver, options, message] of [
    ["syslog", {}, "logger: no log driver named 'syslog' is registered"],
    ["json-file", { nosuch: "1" }, "unknown log opt 'nosuch' for json-file log driver"],
    ["local", { labels: "a" }, "unknown log opt 'labels' for log driver local"],
    ["local", { mode: "eager" }, "logger: logging mode not supported: eager"],
    [
      "json-file",
      { "max-buffer-size": "1m" },
      "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
    ],
    [
      "json-file",
      { mode: "non-blocking", "max-buffer-size": "zz" },
      "error parsing option max-buffer-size: invalid size: 'zz'",
    ],
  ] as const)
    assert.throws(() => checkLogOptions(driver, options), { code: "invalid", message });
});

test("bounds are docker's defaults, or what the options say", () => {
  assert.deepEqual(logBounds("json-file", {}), { maxSize: 0, maxFiles: 1, compress: false });
  assert.deepEqual(logBounds("local", {}), { maxSize: 20 << 20, maxFiles: 5, compress: true });
  assert.deepEqual(logBounds("json-file", { "max-size": "1.5m", "max-file": "3", compress: "T" }), {
    maxSize: 1_500_000,
    maxFiles: 3,
    compress: true,
  });
  assert.deepEqual(logBounds("local", { "max-size": "1m", "max-file": "0", compress: "false" }), {
    maxSize: 1 << 20,
    maxFiles: 1,
    compress: false,
  });
});

test("values that mean nothing are refused in the driver's words", () => {
  for (const [driver, options, message] of [
    ["json-file", { "max-size": "-1" }, "invalid size: '-1'"],
    ["json-file", { "max-size": "0" }, "max-size must be a positive number"],
    ["json-file", { "max-file": "0" }, "max-file cannot be less than 1"],
    ["json-file", { "max-file": "x" }, 'strconv.Atoi: parsing "x": invalid syntax'],
    ["json-file", { compress: "x" }, 'strconv.ParseBool: parsing "x": invalid syntax'],
    [
      "json-file",
      { compress: "true", "max-file": "2" },
      "compress cannot be true when max-file is less than 2 or max-size is not set",
    ],
    ["local", { "max-size": "-1" }, "invalid value for max-size: -1: invalid size: '-1'"],
    ["local", { "max-file": "x" }, 'invalid value for max-file: x: strconv.Atoi: parsing "x": invalid syntax'],
    ["local", { "max-file": "-1" }, "max file count cannot be less than 0"],
    ["local", { "max-file": "1" }, "compression cannot be enabled when max file count is 1"],
    ["local", { compress: "x" }, 'error reading compress log option: strconv.ParseBool: parsing "x": invalid syntax'],
  ] as const)
    assert.throws(() => logBounds(driver, options), { code: "invalid", message });
});

function container(Config: Record<string, string>, Type = "json-file"): Container {
  return {
    id: "0123456789abcdef".repeat(4),
    isPod: false,
    hostConfig: { LogConfig: { Type, Config } },
    record: {
      Name: "/web",
      Image: `sha256:${"ab".repeat(32)}`,
      Path: "sh",
      Args: ["-c", "x"],
      LogPath: "/log",
      Config: { Image: "bb:1", Labels: { a: "1", "b.c": "x y", zz: "9" }, Env: ["FOO=bar", "E=", "X=1=2", "NONE"] },
    },
  } as unknown as Container;
}

test("labels, variables and a tag are chosen by name and by pattern", () => {
  assert.deepEqual(
    logAttributes(
      container({ labels: "a,b.c,none", "labels-regex": "^z", env: "E,NONE", "env-regex": "^(F|X)", tag: "{{.Name}}" }),
    ),
    [
      ["E", ""],
      ["FOO", "bar"],
      ["X", "1=2"],
      ["a", "1"],
      ["b.c", "x y"],
      ["tag", "web"],
      ["zz", "9"],
    ],
  );
  assert.deepEqual(logAttributes(container({})), []);
  assert.deepEqual(logAttributes(container({}, "local")), []);
  assert.throws(() => logAttributes(container({ "env-regex": "(" })), { message: /^error parsing regexp: / });
});

test("a tag's template knows docker's fields, and what it does not know is refused", () => {
  const tag = (template: string): string => logTag(container({}), template);
  assert.equal(
    tag("{{.ID}}/{{ .Name }}/{{.ImageName}}/{{.ImageID}}/{{.DaemonName}}!"),
    "0123456789ab/web/bb:1/sha256:ababa/docker!",
  );
  assert.equal(tag('{{upper .Name}} {{json .Name}} {{index .ContainerLabels "b.c"}}'), 'WEB "web" x y');
  assert.equal(tag("plain"), "plain");
  for (const [template, message] of [
    ["{{", "template: log-tag:1: unclosed action"],
    [
      "{{.Nope}}",
      'template: log-tag:1:2: executing "log-tag" at <.Nope>: can\'t evaluate field Nope in type *logger.Info',
    ],
    ["{{nope .ID}}", "template: log-tag:1: {{nope .ID}} is not supported in a log tag"],
    ["{{if .ID}}x{{end}}", "template: log-tag:1: {{if .ID}} is not supported in a log tag"],
  ] as const)
    assert.throws(() => tag(template), { code: "invalid", message });
});

test("wrong values keep a container from starting, not from being made", () => {
  assert.throws(() => openingLogPlan(container({ "max-size": "zz" }), { logDriver: "json-file", logOptions: {} }), {
    message: "failed to create task for container: failed to initialize logging driver: invalid size: 'zz'",
  });
});
