import type { Route } from "./call.ts";
import { archiveRoutes } from "./handlers/archive.ts";
import { buildRoutes } from "./handlers/build.ts";
import { containerStreamRoutes } from "./handlers/container-streams.ts";
import { containerRoutes } from "./handlers/containers.ts";
import { execRoutes } from "./handlers/exec.ts";
import { imageTransferRoutes } from "./handlers/image-transfer.ts";
import { imageRoutes } from "./handlers/images.ts";
import { networkRoutes } from "./handlers/networks.ts";
import { swarmRoutes } from "./handlers/swarm.ts";
import { systemRoutes } from "./handlers/system.ts";
import { volumeRoutes } from "./handlers/volumes.ts";

/** The Docker Engine API, one line for each operation. */
export const routes: readonly Route[] = [
  ...systemRoutes,
  ...containerRoutes,
  ...containerStreamRoutes,
  ...archiveRoutes,
  ...execRoutes,
  ...imageRoutes,
  ...imageTransferRoutes,
  ...networkRoutes,
  ...volumeRoutes,
  ...swarmRoutes,
  ...buildRoutes,
];
