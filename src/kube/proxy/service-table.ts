import { type RulePiece, rulePiece, type ServiceTableOptions, serviceTableText } from "./service-rules.ts";
import type { ServicePortState } from "./service-port.ts";

/** UDP flows that conntrack still sends the old way. `reply` undefined: all flows to `ip:port`. */
export interface StaleFlow {
  ip: string;
  port: number;
  reply?: string;
}

/** A transaction for nft, and what must be forgotten after it. */
export interface TableChange {
  commands: string;
  staleFlows: StaleFlow[];
}

const emptyPiece: RulePiece = { chains: new Map(), sets: new Map(), elements: new Map() };

/**
 * Knows what is in the table, and says which commands lead to what should be. Work is proportional to what
 * changed. A change that was not applied is taken back by making a new table and `fullText`.
 */
export class ServiceTable {
  readonly #options: ServiceTableOptions;
  /** service key → port id → state and piece */
  readonly #services = new Map<string, Map<string, { state: ServicePortState; piece: RulePiece }>>();
  /** element → port ids that want it, with their verdicts; the first is in force */
  readonly #claims = new Map<string, Map<string, string>>();

  constructor(options: ServiceTableOptions) {
    this.#options = options;
  }

  get serviceKeys(): IterableIterator<string> {
    return this.#services.keys();
  }

  /** The whole table, to replace whatever is there. */
  fullText(): string {
    const { table } = this.#options;
    const lines = [serviceTableText(this.#options)];
    const pieces = [...this.#services.values()].flatMap((ports) => [...ports.values()].map(({ piece }) => piece));
    for (const piece of pieces) lines.push(...declare(table, piece));
    for (const piece of pieces) for (const [chain, rules] of piece.chains) lines.push(...addRules(table, chain, rules));
    lines.push(
      ...elementLines(
        table,
        "add",
        [...this.#claims].map(([key, claims]) => [key, first(claims)]),
      ),
    );
    return `${lines.join("\n")}\n`;
  }

  /** Makes the service's ports what `states` says; an empty list takes the service away. */
  set(serviceKey: string, states: readonly ServicePortState[]): TableChange {
    const before = this.#services.get(serviceKey) ?? new Map<string, { state: ServicePortState; piece: RulePiece }>();
    const after = new Map(states.map((state) => [state.id, { state, piece: rulePiece(state, this.#options) }]));
    const inForce = new Map<string, string | undefined>();
    const remember = (key: string): void => {
      if (!inForce.has(key)) inForce.set(key, this.#verdict(key));
    };
    const staleFlows: StaleFlow[] = [];
    const diffs: { old: RulePiece; now: RulePiece }[] = [];
    for (const id of new Set([...before.keys(), ...after.keys()])) {
      const old = before.get(id);
      const now = after.get(id);
      for (const key of old?.piece.elements.keys() ?? []) remember(key);
      for (const key of now?.piece.elements.keys() ?? []) remember(key);
      for (const key of old?.piece.elements.keys() ?? []) {
        if (now?.piece.elements.get(key) === undefined) this.#unclaim(key, id);
      }
      for (const [key, verdict] of now?.piece.elements ?? []) this.#claim(key, id, verdict);
      diffs.push({ old: old?.piece ?? emptyPiece, now: now?.piece ?? emptyPiece });
      staleFlows.push(...stale(old?.state, now?.state));
    }
    if (after.size === 0) this.#services.delete(serviceKey);
    else this.#services.set(serviceKey, after);
    return { commands: this.#commands(diffs, inForce), staleFlows };
  }

  #commands(diffs: { old: RulePiece; now: RulePiece }[], inForce: Map<string, string | undefined>): string {
    const { table } = this.#options;
    const gone: [string, string][] = [];
    const come: [string, string][] = [];
    for (const [key, verdict] of inForce) {
      const now = this.#verdict(key);
      if (now === verdict) continue;
      if (verdict !== undefined) gone.push([key, verdict]);
      if (now !== undefined) come.push([key, now]);
    }
    const lines: string[] = elementLines(table, "delete", gone);
    const flushed: string[] = [];
    const declared: string[] = [];
    const ruled: string[] = [];
    const deleted: string[] = [];
    for (const { old, now } of diffs) {
      declared.push(...declare(table, now, old));
      for (const [chain, rules] of now.chains) {
        const same = old.chains.get(chain)?.join("\n") === rules.join("\n");
        if (same) continue;
        if (old.chains.has(chain)) flushed.push(`flush chain inet ${table} ${chain}`);
        ruled.push(...addRules(table, chain, rules));
      }
      const goneChains = [...old.chains.keys()].filter((chain) => !now.chains.has(chain));
      // Rules first: chains and sets that are still referred to cannot be deleted.
      for (const chain of goneChains) flushed.push(`flush chain inet ${table} ${chain}`);
      for (const chain of goneChains) deleted.push(`delete chain inet ${table} ${chain}`);
      for (const set of old.sets.keys()) {
        if (!now.sets.has(set)) deleted.push(`delete set inet ${table} ${set}`);
      }
    }
    lines.push(...flushed, ...declared, ...ruled, ...elementLines(table, "add", come), ...deleted);
    return lines.length === 0 ? "" : `${lines.join("\n")}\n`;
  }

  #verdict(key: string): string | undefined {
    const claims = this.#claims.get(key);
    return claims === undefined ? undefined : first(claims);
  }

  #claim(key: string, id: string, verdict: string): void {
    const claims = this.#claims.get(key);
    if (claims === undefined) this.#claims.set(key, new Map([[id, verdict]]));
    else claims.set(id, verdict);
  }

  #unclaim(key: string, id: string): void {
    const claims = this.#claims.get(key);
    if (claims?.delete(id) && claims.size === 0) this.#claims.delete(key);
  }
}

function first(claims: Map<string, string>): string {
  return claims.values().next().value as string;
}

/** Chains and sets that are new. A set's definition never changes under its name. */
function declare(table: string, now: RulePiece, old: RulePiece = emptyPiece): string[] {
  const sets = [...now.sets].filter(([set]) => !old.sets.has(set));
  const chains = [...now.chains.keys()].filter((chain) => !old.chains.has(chain));
  return [
    ...sets.map(([set, definition]) => `add set inet ${table} ${set} { ${definition} }`),
    ...chains.map((chain) => `add chain inet ${table} ${chain}`),
  ];
}

function addRules(table: string, chain: string, rules: readonly string[]): string[] {
  return rules.map((rule) => `add rule inet ${table} ${chain} ${rule}`);
}

function elementLines(table: string, verb: "add" | "delete", entries: readonly [string, string][]): string[] {
  const bySet = new Map<string, string[]>();
  for (const [entry, verdict] of entries) {
    const space = entry.indexOf(" ");
    const set = entry.slice(0, space);
    const key = entry.slice(space + 1);
    const list = bySet.get(set);
    const text = verb === "delete" || verdict === "" ? key : `${key} : ${verdict}`;
    if (list === undefined) bySet.set(set, [text]);
    else list.push(text);
  }
  return [...bySet].map(([set, texts]) => `${verb} element inet ${table} ${set} { ${texts.join(", ")} }`);
}

/** conntrack keeps UDP flows going where they went: to an endpoint that left, or to nowhere. */
function stale(old: ServicePortState | undefined, now: ServicePortState | undefined): StaleFlow[] {
  if ((old ?? now)?.protocol !== "udp") return [];
  const vips = (state: ServicePortState): string[] => [
    ...state.clusterIps,
    ...state.externalIps,
    ...state.loadBalancerIps,
  ];
  const flows: StaleFlow[] = [];
  const kept = new Set((now?.targets ?? []).map((target) => target.ip));
  for (const { ip: reply } of old?.targets ?? []) {
    if (old === undefined || kept.has(reply)) continue;
    for (const ip of vips(old)) flows.push({ ip, port: old.port, reply });
    if (old.nodePort > 0) flows.push({ ip: "", port: old.nodePort, reply });
  }
  if (now !== undefined && now.targets.length > 0 && (old === undefined || old.targets.length === 0)) {
    for (const ip of vips(now)) flows.push({ ip, port: now.port });
    if (now.nodePort > 0) flows.push({ ip: "", port: now.nodePort });
  }
  return flows;
}
