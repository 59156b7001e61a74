/** Results as text for a terminal, and as the sections of docs/benchmarks.md. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { repository } from "./instance.ts";
import { type Row, aimIsMet, machineLine, ratio } from "./kit.ts";
import type { Measured } from "./main.ts";

const path = join(repository, "docs/benchmarks.md");

function shown(value: number, unit: string, spread: Row["spread"]): string {
  return `${value} ${unit}${spread === undefined ? "" : ` (${spread[0]}–${spread[1]})`}`;
}

function aimText(of: Row): string {
  if (of.aim === undefined) return "";
  const met = aimIsMet(of);
  const aim =
    of.aim.of === "ratio"
      ? `≤ ${of.aim.atMost} of ${of.peers[0]?.name ?? "the peer"}'s`
      : `≤ ${of.aim.atMost} ${of.unit}`;
  return met === undefined ? aim : `${aim}: ${met ? "met" : "**missed**"}`;
}

export function asText(result: Measured): string {
  const lines = result.rows.map((of) => {
    const peers = of.peers.map(
      (peer) => `   ${peer.name} ${shown(peer.value, of.unit, peer.spread)}   ratio ${ratio(of, peer)}`,
    );
    return `  ${of.what}: ${shown(of.value, of.unit, of.spread)}${peers.join("")}   ${aimText(of)}`.trimEnd();
  });
  return `${[`${result.title} [${result.noise}]`, ...lines, ...result.notes.map((note) => `  · ${note}`)].join("\n")}\n\n`;
}

function section(result: Measured): string {
  const names = [...new Set(result.rows.flatMap((of) => of.peers.map(({ name }) => name)))];
  const titles = ["what", "Gantry", ...names.flatMap((name) => [name, `Gantry / ${name}`]), "runs", "aim"];
  const rows = result.rows.map((of) => {
    const cells = [of.what, shown(of.value, of.unit, of.spread)];
    for (const name of names) {
      const peer = of.peers.find((one) => one.name === name);
      cells.push(...(peer === undefined ? ["", ""] : [shown(peer.value, of.unit, peer.spread), `${ratio(of, peer)}`]));
    }
    return `| ${[...cells, of.runs, aimText(of)].join(" | ")} |`;
  });
  return [
    `## ${result.title}`,
    "",
    `\`npm run bench -- --only ${result.name}\`, ${result.at} UTC; ${result.noise}.`,
    "",
    `| ${titles.join(" | ")} |`,
    `|${"---|".repeat(titles.length)}`,
    ...rows,
    "",
    ...result.notes.map((note) => `- ${note}`),
  ].join("\n");
}

function markers(name: string): [string, string] {
  return [`<!-- bench:${name} -->`, `<!-- /bench:${name} -->`];
}

/** Puts results between their markers in docs/benchmarks.md; the text around them is a person's and stays. */
export function writeDocument(results: readonly Measured[]): void {
  let text = existsSync(path) ? readFileSync(path, "utf8") : "# Benchmarks\n";
  const replace = (name: string, body: string): void => {
    const [from, to] = markers(name);
    const start = text.indexOf(from);
    const end = text.indexOf(to);
    if (start < 0 || end < 0) text = `${text.trimEnd()}\n\n${from}\n\n${body}\n\n${to}\n`;
    else text = `${text.slice(0, start)}${from}\n\n${body}\n\n${text.slice(end)}`;
  };
  replace("machine", `Machine: ${machineLine()}.`);
  for (const result of results) replace(result.name, section(result));
  writeFileSync(path, text);
}
