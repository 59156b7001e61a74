/** One step of long work, timed. */
export interface FinishedStep {
  title: string;
  ms: number;
}

export function formatDuration(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/**
 * Tells a person what is being done and how long each step took: in place on a terminal, as plain finished
 * lines elsewhere.
 */
export class Progress {
  readonly steps: FinishedStep[] = [];
  readonly #stream: NodeJS.WriteStream;
  readonly #live: boolean;

  constructor(stream: NodeJS.WriteStream = process.stdout) {
    this.#stream = stream;
    this.#live = stream.isTTY === true;
  }

  /** Runs `work` as a step. A step that fails is marked so, and its error goes on. */
  async step<T>(title: string, work: () => Promise<T>): Promise<T> {
    if (this.#live) this.#stream.write(`  … ${title}`);
    const started = performance.now();
    try {
      const result = await work();
      this.#finish("✓", title, performance.now() - started);
      return result;
    } catch (error) {
      this.#finish("✗", title, performance.now() - started);
      throw error;
    }
  }

  note(text: string): void {
    if (this.#live) this.#stream.write("\r\u001b[K");
    this.#stream.write(`${text}\n`);
  }

  #finish(mark: string, title: string, ms: number): void {
    this.steps.push({ title, ms });
    if (this.#live) this.#stream.write("\r\u001b[K");
    this.#stream.write(`  ${mark} ${title.padEnd(44)} ${formatDuration(ms).padStart(8)}\n`);
  }
}
