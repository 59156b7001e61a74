import { errorChain } from "#base/errors.ts";
import type { Logger, LogLevel } from "#base/log.ts";
import type { Engine } from "#engine/engine.ts";
import type { EngineDefaults } from "#engine/engine-options.ts";
import type { RegistryService } from "#engine/registry-service.ts";
import { daemonJsonPath, type DaemonSettings, keysAwaitingRestart, readDaemonJson } from "./daemon-json.ts";
import { engineDefaultsOf, registryConfigOf, reloadAttributes, reloadedDefaults } from "./daemon-json-apply.ts";
import type { InstanceConfig } from "./instance-config.ts";

export interface ReloadParts {
  engine: Pick<Engine, "info" | "emitEvent">;
  registry: Pick<RegistryService, "reconfigure">;
  log: Logger;
}

/** The settings of daemon.json that are in force, which a SIGHUP may change. */
export class LiveSettings {
  readonly #config: InstanceConfig;
  readonly #setLogLevel: (level: LogLevel) => void;
  /** What the process was started with: what a reload cannot change is compared with it. */
  readonly started: DaemonSettings;
  #current: DaemonSettings;
  /** The engine's own part: given to it once, changed in place. */
  readonly engineDefaults: EngineDefaults;

  /** Throws `invalid` when the file cannot be used. */
  constructor(config: InstanceConfig, setLogLevel: (level: LogLevel) => void) {
    this.#config = config;
    this.#setLogLevel = setLogLevel;
    this.started = readDaemonJson(config);
    this.#current = this.started;
    this.engineDefaults = engineDefaultsOf(this.started);
    setLogLevel(this.started.logLevel);
  }

  get current(): DaemonSettings {
    return this.#current;
  }

  /**
   * Reads the file again and brings in force what dockerd reloads, then tells it as the event `daemon reload`. A
   * file that cannot be used changes nothing: it is logged.
   */
  async reload({ engine, registry, log }: ReloadParts): Promise<void> {
    const file = daemonJsonPath(this.#config);
    let settings: DaemonSettings;
    try {
      settings = readDaemonJson(this.#config);
    } catch (error) {
      log.error("The configuration was not reloaded; all stays as it was.", { file, error: errorChain(error) });
      return;
    }
    const before = registryConfigOf(this.#current);
    const after = registryConfigOf(settings);
    this.#current = settings;
    Object.assign(this.engineDefaults, reloadedDefaults(settings));
    if (JSON.stringify(before) !== JSON.stringify(after)) registry.reconfigure(after);
    this.#setLogLevel(settings.logLevel);
    for (const warning of settings.warnings) log.warn("The configuration has a warning.", { file, warning });
    const waiting = keysAwaitingRestart(this.started.values, settings.values);
    if (waiting.length > 0)
      log.warn("Changes of these keys come in force with `gantry down` and `gantry up`.", { file, keys: waiting });
    const { ID, Name } = await engine.info();
    engine.emitEvent({
      Type: "daemon",
      Action: "reload",
      Actor: { ID, Attributes: reloadAttributes(settings, String(Name)) },
    });
    log.info("The configuration was reloaded.", { file });
  }
}
