import { readFileSync } from 'node:fs';
import { parse } from 'yaml';

/** What our compose file says of a service; its schema is checked by infra/compose.test.mjs. */
export interface ComposeService {
  readonly image: string;
  readonly entrypoint?: readonly string[];
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly volumes?: readonly string[];
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly depends_on?: Readonly<Record<string, { readonly condition: Condition }>>;
}

export type Condition = 'service_started' | 'service_healthy' | 'service_completed_successfully';

export interface ComposeFile {
  readonly services: Readonly<Record<string, ComposeService>>;
  readonly volumes: Readonly<Record<string, unknown>>;
}

export function readCompose(file: string): ComposeFile {
  return parse(readFileSync(file, 'utf8'), { merge: true }) as ComposeFile;
}

/** What an image of ours runs where compose says nothing. */
export function readImage(dockerfile: string): { readonly entrypoint: string[]; readonly command: string[] } {
  const text = readFileSync(dockerfile, 'utf8');
  const list = (name: string): string[] => {
    const found = new RegExp(String.raw`^${name} (\[.*\])$`, 'm').exec(text)?.[1];
    if (found === undefined) throw new Error(`${dockerfile} has no ${name}.`);
    return JSON.parse(found) as string[];
  };
  return { entrypoint: list('ENTRYPOINT'), command: list('CMD') };
}
