/** One check: resolves when all is well, else says why not. */
export type HealthCheck = () => string | undefined | Promise<string | undefined>;

/** A named set of checks and its answer in upstream's form (apiserver, healthz). */
export class HealthChecks {
  readonly #name: string;
  readonly #checks: ReadonlyMap<string, HealthCheck>;

  constructor(name: string, checks: ReadonlyMap<string, HealthCheck>) {
    this.#name = name;
    this.#checks = checks;
  }

  /** Undefined when `check` is none of ours. */
  async one(check: string): Promise<{ ok: boolean; text: string } | undefined> {
    const run = this.#checks.get(check);
    if (run === undefined) return undefined;
    const why = await run();
    return why === undefined ? { ok: true, text: "ok" } : { ok: false, text: `internal server error: ${why}\n` };
  }

  async all(exclude: readonly string[], verbose: boolean): Promise<{ ok: boolean; text: string }> {
    const lines: string[] = [];
    let ok = true;
    for (const [name, run] of this.#checks) {
      if (exclude.includes(name)) {
        lines.push(`[+]${name} excluded: ok`);
        continue;
      }
      const why = await run();
      if (why === undefined) lines.push(`[+]${name} ok`);
      else {
        ok = false;
        lines.push(`[-]${name} failed: reason withheld`);
      }
    }
    for (const name of exclude)
      if (!this.#checks.has(name))
        lines.push(`warn: some health checks cannot be excluded: no matches for ${JSON.stringify(name)}`);
    if (!ok) return { ok, text: `${lines.join("\n")}\n${this.#name} check failed\n` };
    return { ok, text: verbose ? `${lines.join("\n")}\n${this.#name} check passed\n` : "ok" };
  }
}
