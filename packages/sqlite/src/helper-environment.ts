/**
 * For processes and threads that do one small thing: the options of this process are not meant for
 * them. A debugger's port is taken, and modules to be loaded first, an SDK for traces for example,
 * have no room in a thread of a few megabytes.
 */
export function environmentOfHelpers(): NodeJS.ProcessEnv {
  const { NODE_OPTIONS: _, ...rest } = process.env;
  return rest;
}
