/** The release of Docker Engine whose API this is: clients switch features by it. */
export const dockerRelease = "28.3.3";
