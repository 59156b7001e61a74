// Compares defaults and validation with Kubernetes' own code, on mutated objects. Needs Go.
//   node test/kube-rules/run.ts [how many] [seed]
// Prints what differs, most frequent first, and fails when more than one object in a hundred does.
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fitToSchema } from "../../src/api/kube/codec/structural.ts";
import { withDefaults } from "../../src/api/kube/defaults/apply-defaults.ts";
import type { KubeObject } from "../../src/api/kube/object.ts";
import { scheme } from "../../src/api/kube/scheme.ts";
import { validateKind } from "../../src/api/kube/validation/validate-kind.ts";
import { samples, type Sample } from "./samples.ts";

interface Case {
  old?: Sample;
  now: Sample;
}
interface Answer {
  error?: string;
  object?: Sample;
  problems: { field: string; message: string }[] | null;
  judged: boolean;
}

const count = Number(process.argv[2] ?? 5000);
let state = Number(process.argv[3] ?? Date.now() % 2 ** 31) || 1;
console.log(`${count} objects, seed ${state}`);

/** xorshift: the same seed gives the same objects. */
function random(): number {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) / 2 ** 32;
}
const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;

const strings = [
  "",
  "Bad_Name",
  "a.b",
  "x y",
  "-a",
  "a".repeat(70),
  "Always",
  "None",
  "10%",
  "101%",
  "/abs",
  "../x",
  "0",
  "5",
];
const numbers = [0, -1, 1, 70000, 100];

function places(value: unknown, path: string[] = []): string[][] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, item]) => [[...path, key], ...places(item, [...path, key])]);
}

function mutate(object: Sample, within: (path: string[]) => boolean): void {
  const all = places(object).filter(within);
  if (all.length === 0) return;
  const path = pick(all);
  const key = path.at(-1) as string;
  let at = object;
  for (const part of path.slice(0, -1)) at = at[part] as Sample;
  const value = at[key];
  if (random() < 0.35) {
    if (Array.isArray(at)) at.splice(Number(key), 1);
    else delete at[key];
  } else if (typeof value === "string") at[key] = pick(strings);
  else if (typeof value === "number") at[key] = pick(numbers);
  else if (typeof value === "boolean") at[key] = !value;
  else if (!Array.isArray(value)) at[key] = {};
  else if (value.length > 0) value.push(structuredClone(value[0]));
}

function fitted(object: Sample): KubeObject | undefined {
  const [first = "", second] = String(object["apiVersion"]).split("/");
  const schema = scheme.kind(second === undefined ? "" : first, second ?? first, String(object["kind"]));
  const { object: fit, report } = fitToSchema(object, schema as NonNullable<typeof schema>);
  return report.mismatch === undefined ? (fit as KubeObject) : undefined;
}

function makeCase(index: number): Case {
  const sample = samples[index % samples.length] as Sample;
  const now = structuredClone(sample);
  const times = random() < 0.4 ? 2 : 1;
  if (random() < 0.5) {
    for (let time = 0; time < times; time++) mutate(now, ([root = ""]) => !["apiVersion", "kind"].includes(root));
    const metadata = (now["metadata"] ??= {}) as Sample;
    metadata["name"] ??= "x";
    if ((sample["metadata"] as Sample)["namespace"] !== undefined) metadata["namespace"] = "n";
    return { now };
  }
  const old = structuredClone(sample);
  Object.assign(old["metadata"] as Sample, { resourceVersion: "1", uid: "u" });
  now["metadata"] = structuredClone(old["metadata"]);
  for (let time = 0; time < times; time++)
    mutate(now, ([root = ""]) => !["apiVersion", "kind", "metadata"].includes(root));
  return { old, now };
}

/** Nulls are absent to us; keys in order. */
function tidy(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(tidy);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).filter(([, item]) => item !== null && item !== undefined);
  return Object.fromEntries(
    entries.map(([key, item]) => [key, tidy(item)] as const).toSorted(([a], [b]) => (a < b ? -1 : 1)),
  );
}

/** What the API server's conversion adds after defaulting, and what Go tells apart that JSON does not. */
function withoutKnown(object: unknown): unknown {
  const copy = structuredClone(object) as { kind?: string; spec?: Sample };
  if (copy.kind === "Pod") delete copy.spec?.["serviceAccount"];
  if (copy.kind === "StatefulSet")
    for (const claim of (copy.spec?.["volumeClaimTemplates"] ?? []) as Sample[]) {
      delete claim["apiVersion"];
      delete claim["kind"];
    }
  return copy;
}

function firstDifference(ours: unknown, theirs: unknown, path = ""): string {
  const isPlain = typeof ours !== "object" || typeof theirs !== "object" || ours === null || theirs === null;
  if (isPlain) return `${path}: ours ${JSON.stringify(ours)}, upstream's ${JSON.stringify(theirs)}`;
  const a = ours as Sample;
  const b = theirs as Sample;
  const key = [...new Set([...Object.keys(a), ...Object.keys(b)])].find(
    (each) => JSON.stringify(a[each]) !== JSON.stringify(b[each]),
  );
  return key === undefined ? path : firstDifference(a[key], b[key], `${path}.${key}`);
}

/** Nil and empty lists or maps differ in Go alone; a long text of differences follows a line break. */
const lineOf = ({ field, message }: { field: string; message: string }): string =>
  `${field}: ${message.split("\n")[0]}`.replace(/Invalid value: (?:\{\}|\[\]): /, "Invalid value: null: ");

const folder = mkdtempSync(join(tmpdir(), "kube-rules-"));
let failed = false;
try {
  execFileSync("go", ["build", "-o", join(folder, "oracle"), "."], {
    cwd: import.meta.dirname,
    stdio: "inherit",
    env: { ...process.env, GOFLAGS: "-mod=mod" },
  });
  const cases = Array.from({ length: count }, (_, index) => makeCase(index)).filter(
    ({ now }) => fitted(now) !== undefined,
  );
  const { stdout } = spawnSync(join(folder, "oracle"), {
    input: cases.map((each) => JSON.stringify(each)).join("\n"),
    maxBuffer: 2 ** 30,
    encoding: "utf8",
  });
  const answers = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Answer);
  if (answers.length !== cases.length || cases.length < count / 2)
    throw new Error(`${answers.length} answers to ${cases.length} objects`);
  const found = new Map<string, number>();
  const note = (text: string): unknown => found.set(text, (found.get(text) ?? 0) + 1);
  let judged = 0;
  for (const [index, { old, now }] of cases.entries()) {
    const answer = answers[index] as Answer;
    if (answer.object === undefined) continue;
    const ours = withDefaults(fitted(now) as KubeObject);
    const mine = tidy(withoutKnown(ours));
    const theirs = tidy(withoutKnown(answer.object));
    if (JSON.stringify(mine) !== JSON.stringify(theirs))
      note(`${String(now["kind"])} default ${firstDifference(mine, theirs)}`);
    if (!answer.judged) continue;
    judged++;
    const before = old === undefined ? undefined : withDefaults(fitted(old) as KubeObject);
    const said = new Set(validateKind(ours, before).map(lineOf));
    const expected = new Set((answer.problems ?? []).map(lineOf));
    const missing = [...expected].filter((line) => !said.has(line));
    const extra = [...said].filter((line) => !expected.has(line));
    if (missing.length + extra.length > 0)
      note(
        `${String(now["kind"])} ${old === undefined ? "create" : "update"}\n  only upstream: ${missing.join(" | ")}\n  only ours: ${extra.join(" | ")}`,
      );
  }
  const different = [...found.values()].reduce((sum, each) => sum + each, 0);
  for (const [text, times] of [...found].toSorted(([, a], [, b]) => b - a)) console.log(`${times} × ${text}`);
  console.log(`${cases.length} defaulted, ${judged} judged, ${different} differ`);
  failed = different > cases.length / 100;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = failed ? 1 : 0;
