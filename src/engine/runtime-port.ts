/** The port to the container layer; it stands in `api`, below both sides. */
export type * from "#api/container-runtime.ts";
