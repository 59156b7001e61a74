import { realpathSync, statSync } from "node:fs";
import { join } from "node:path";
import { GantryError } from "#base/errors.ts";
import { checkInstanceName } from "#daemon/instance-store.ts";
import { instanceRunDir, mainPidFile } from "#daemon/instance-paths.ts";
import { writeFileAtomicSync } from "#host/files.ts";
import { bundledFile, isBundled } from "#host/bundled-file.ts";
import { requireRoot } from "../instance.ts";
import type { InstanceOptions } from "../instance-options.ts";

interface InstallServiceOptions extends InstanceOptions {
  write?: boolean;
}

const unitFolder = "/etc/systemd/system";

/** One word of an ExecStart line (systemd.service(5), "Command lines"). */
function word(text: string): string {
  const escaped = text.replaceAll("%", "%%").replaceAll("$", "$$$$");
  return /^[\w@+=:,./%$-]+$/.test(escaped) ? escaped : `"${escaped.replaceAll(/["\\]/g, "\\$&")}"`;
}

/**
 * The unit. `gantry up` leaves when everything runs, hence forking; the node process is the main one, which a
 * SIGHUP reloads. Containers do not die with it: only processes are stopped, and systemd kills nobody else.
 */
export function systemdUnit(gantry: string, name: string, root: string | undefined): string {
  const instance = [...(name === "default" ? [] : ["--name", name]), ...(root === undefined ? [] : ["--root", root])];
  const line = (...words: string[]): string => [gantry, ...words, ...instance].map(word).join(" ");
  return `[Unit]
Description=Gantry: containers and Kubernetes${name === "default" ? "" : ` (${name})`}
Documentation=man:systemd.service(5)
After=network-online.target nss-lookup.target firewalld.service time-set.target
Wants=network-online.target
StartLimitBurst=3
StartLimitIntervalSec=60

[Service]
Type=forking
PIDFile=${mainPidFile({ runDir: instanceRunDir(name) }).replaceAll("%", "%%")}
ExecStart=${line("up", "--no-demo", "--no-switch")}
ExecReload=/bin/kill -s HUP $MAINPID
ExecStop=${line("down", "--keep-containers")}
Environment=HOME=/root
TimeoutStartSec=0
TimeoutStopSec=60
Restart=on-failure
RestartSec=2
KillMode=process
Delegate=yes
LimitNOFILE=1048576
LimitNPROC=infinity
LimitCORE=infinity
TasksMax=infinity
OOMScoreAdjust=-500

[Install]
WantedBy=multi-user.target
`;
}

/** The launcher beside the bundle, or beside the sources. */
function launcher(): string {
  const folder = isBundled ? join(bundledFile("."), "..") : join(import.meta.dirname, "../../..");
  const path = join(folder, "gantry");
  if (statSync(path, { throwIfNoEntry: false })?.isFile() !== true)
    throw new GantryError("not-found", `The program gantry was not found in ${folder}.`);
  return realpathSync(path);
}

/** `gantry install-service`: prints the unit, or with `--write` puts it where systemd looks. */
export function installService(options: InstallServiceOptions): void {
  const name = checkInstanceName(options.name);
  const unit = systemdUnit(launcher(), name, options.root);
  if (options.write !== true) {
    process.stdout.write(unit);
    return;
  }
  requireRoot("install-service --write");
  const service = name === "default" ? "gantry" : `gantry-${name}`;
  if (statSync(unitFolder, { throwIfNoEntry: false })?.isDirectory() !== true)
    throw new GantryError("unsupported", `There is no ${unitFolder} on this machine: it is not run by systemd.`);
  const path = join(unitFolder, `${service}.service`);
  writeFileAtomicSync(path, unit, { mode: 0o644 });
  process.stdout.write(`Wrote ${path}. Next:\n  systemctl daemon-reload\n  systemctl enable --now ${service}\n`);
}
