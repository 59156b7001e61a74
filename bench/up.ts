/** From `./gantry up` to the API answering and to the sample Running, as seen from outside. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { Agent, request } from "node:https";
import { join } from "node:path";
import type { InstanceConfig } from "#daemon/instance-config.ts";
import { ref } from "#api/kube/object.ts";
import { sampleNodePort } from "../src/cli/sample.ts";
import { type Instance, newInstance, repository } from "./instance.ts";
import { type Bench, command, pause, row, until } from "./kit.ts";

const freshStarts = 5;
const restarts = 5;

interface UpTimes {
  /** Milliseconds from the start of the command line program. */
  apiMs: number;
  sampleMs: number;
  pageMs: number;
  exitMs: number;
  printed: string;
}

/** Whether /readyz answers, asked without a certificate, as a load balancer would. */
function isReady(port: number, agent: Agent): Promise<boolean> {
  return new Promise((resolve) => {
    const asked = request({ host: "127.0.0.1", port, path: "/readyz", agent, timeout: 1_000 }, (answer) => {
      answer.resume();
      answer.once("end", () => resolve(answer.statusCode === 200));
    });
    asked.once("error", () => resolve(false));
    asked.end();
  });
}

/** Whether the sample's page comes through its node port. */
async function pageAnswers(config: InstanceConfig): Promise<boolean> {
  try {
    return (await fetch(`http://127.0.0.1:${sampleNodePort(config)}/`, { signal: AbortSignal.timeout(1_000) })).ok;
  } catch {
    return false;
  }
}

async function sampleRuns(instance: Instance, client: Awaited<ReturnType<Instance["kube"]>>): Promise<boolean> {
  try {
    const { status } = (await client.get(ref("apps/v1", "deployments"), "default", "hello")) as {
      status?: { availableReplicas?: number };
    };
    return status?.availableReplicas === 2;
  } catch {
    return false;
  }
}

async function bringUp(instance: Instance): Promise<UpTimes> {
  const began = performance.now();
  const child = spawn(join(repository, "gantry"), ["up", ...instance.flags, "--no-switch"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let printed = "";
  child.stdout.on("data", (chunk: Buffer) => (printed += chunk.toString()));
  const exited = new Promise<number>((resolve, reject) => {
    child.once("close", (code) =>
      code === 0 ? resolve(performance.now() - began) : reject(new Error(`gantry up ended with ${code}:\n${printed}`)),
    );
  });
  /** Waits for something that must come before the command fails. */
  const orFailed = async (waiting: Promise<void>): Promise<void> => {
    await Promise.race([waiting, exited.then(() => waiting)]);
  };
  const agent = new Agent({ rejectUnauthorized: false, keepAlive: true });
  await orFailed(until("instance.json", 10_000, () => existsSync(join(instance.root, "pki/admin.crt")), 2));
  const port = instance.config.apiPort;
  await orFailed(until("/readyz", 30_000, () => isReady(port, agent), 3));
  const apiMs = performance.now() - began;
  const client = await instance.kube();
  await orFailed(until("the sample", 60_000, () => sampleRuns(instance, client), 5));
  const sampleMs = performance.now() - began;
  await orFailed(until("the sample's page", 60_000, () => pageAnswers(instance.config), 5));
  const pageMs = performance.now() - began;
  agent.destroy();
  return { apiMs, sampleMs, pageMs, exitMs: await exited, printed };
}

function seconds(times: readonly UpTimes[], of: Exclude<keyof UpTimes, "printed">): number[] {
  return times.map((one) => one[of] / 1000);
}

function stepsPrinted(printed: string): string {
  return printed
    .split("\n")
    .filter((line) => line.includes("✓"))
    .map((line) =>
      line
        .replace("✓", "")
        .trim()
        .replace(/\s{2,}/g, " "),
    )
    .join(", ");
}

export const bench: Bench = {
  name: "up",
  title: "Start",
  async run() {
    const fresh: UpTimes[] = [];
    for (let index = 0; index < freshStarts; index++) {
      const instance = newInstance("bench-up");
      fresh.push(await bringUp(instance));
      await instance.remove();
    }
    const instance = newInstance("bench-up");
    await bringUp(instance);
    const again: UpTimes[] = [];
    const helps: number[] = [];
    const states: number[] = [];
    for (let index = 0; index < restarts; index++) {
      await instance.cli("down");
      again.push(await bringUp(instance));
      await pause(2_000);
      for (const [argv, into] of [
        [["--help"], helps],
        [["status", ...instance.flags], states],
      ] as const) {
        const began = performance.now();
        await command([join(repository, "gantry"), ...argv]);
        into.push(performance.now() - began);
      }
    }
    await instance.remove();
    return {
      rows: [
        row("new instance: `gantry up` to the API answering", "s", seconds(fresh, "apiMs"), {
          aim: { atMost: 1, of: "value" },
        }),
        row("new instance: `gantry up` to the sample Running (2 of 2 available)", "s", seconds(fresh, "sampleMs"), {
          aim: { atMost: 3, of: "value" },
        }),
        row("new instance: `gantry up` to the sample's page answering", "s", seconds(fresh, "pageMs")),
        row("new instance: `gantry up` to its end", "s", seconds(fresh, "exitMs")),
        row("after `gantry down`: `gantry up` to the API answering", "s", seconds(again, "apiMs"), {
          aim: { atMost: 1, of: "value" },
        }),
        row("after `gantry down`: `gantry up` to the sample's page answering", "s", seconds(again, "pageMs"), {
          aim: { atMost: 3, of: "value" },
        }),
        row("`gantry --help`", "ms", helps, { aim: { atMost: 100, of: "value" } }),
        row("`gantry status`", "ms", states, { aim: { atMost: 100, of: "value" } }),
      ],
      notes: [
        "Installed and warm: npm packages and the bundle are there. The clock starts when `./gantry up` is spawned; /readyz and the sample's Deployment are polled over HTTPS by the benchmark itself, so its own client counts in.",
        `The command's own steps, last new instance: ${stepsPrinted(fresh.at(-1)?.printed ?? "")}.`,
      ],
    };
  },
};
