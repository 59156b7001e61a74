/** Counters that `/metrics` shows in Prometheus' text format. */
export class Metrics {
  readonly #requests = new Map<string, number>();
  readonly #gauges = new Map<string, () => number>();
  #seconds = 0;
  #count = 0;

  observe(verb: string, code: number, ms: number): void {
    const key = `${verb}|${code}`;
    this.#requests.set(key, (this.#requests.get(key) ?? 0) + 1);
    this.#seconds += ms / 1000;
    this.#count++;
  }

  /** A value that is read when asked for. The name may carry labels. */
  gauge(name: string, read: () => number): void {
    this.#gauges.set(name, read);
  }

  text(): string {
    const lines = [
      "# HELP apiserver_request_total Counter of apiserver requests broken out for each verb and HTTP response code.",
      "# TYPE apiserver_request_total counter",
    ];
    for (const [key, count] of this.#requests) {
      const [verb, code] = key.split("|");
      lines.push(`apiserver_request_total{code="${code}",verb="${verb}"} ${count}`);
    }
    lines.push(
      "# TYPE apiserver_request_duration_seconds summary",
      `apiserver_request_duration_seconds_sum ${this.#seconds}`,
      `apiserver_request_duration_seconds_count ${this.#count}`,
    );
    const typed = new Set<string>();
    for (const [name, read] of this.#gauges) {
      const family = name.split("{")[0] as string;
      if (!typed.has(family)) lines.push(`# TYPE ${family} gauge`);
      typed.add(family);
      lines.push(`${name} ${read()}`);
    }
    const memory = process.memoryUsage();
    lines.push("# TYPE process_resident_memory_bytes gauge", `process_resident_memory_bytes ${memory.rss}`);
    return `${lines.join("\n")}\n`;
  }
}
