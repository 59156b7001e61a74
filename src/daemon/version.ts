declare const GANTRY_VERSION: string | undefined;

/** Gantry's version; the bundler puts it in, a run from the sources says so. */
export const version = typeof GANTRY_VERSION === "string" ? GANTRY_VERSION : "0.0.0-dev";
