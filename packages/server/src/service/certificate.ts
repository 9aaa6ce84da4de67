import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createSecureContext, type Server as TlsServer } from 'node:tls';
import { AntiphonError, checkRequired, OPTION, type OptionNames } from '@antiphon/core';
import type { Logger } from '@antiphon/replica';

/** How a server shows who it is. Each is the path of a PEM file, or its content. */
export interface ServerTls {
  /** The certificate of the server, with those between it and its authority. */
  readonly cert: string;
  /** The key of `cert`. */
  readonly key: string;
  /**
   * The authority of clients: each has to show a certificate that it signed.
   * @defaultValue none: clients show no certificate
   */
  readonly ca?: string;
}

type Content = { readonly cert: string; readonly key: string; readonly ca?: string };

const TLS_NAMES: OptionNames<ServerTls> = { cert: OPTION.text, key: OPTION.text, ca: OPTION.text };
const PEM = '-----BEGIN ';
/** Between two looks at the files. */
const LOOK_MS = 2000;

/** The certificate of a server, which may be renewed while the server runs. */
export class ServerCertificate {
  #content: Content;
  #timer: NodeJS.Timeout | undefined;
  /** What was wrong with the files at the last look. */
  #trouble: string | undefined;

  /** Throws BAD_OPTION. */
  constructor(private readonly given: ServerTls) {
    checkRequired(given, TLS_NAMES, '`tls` of createServer()', ['cert', 'key']);
    this.#content = contentOf(given, (file) => readFileSync(file, 'utf8'));
  }

  /** For Node.js. */
  get options(): Content & { readonly requestCert: boolean; readonly rejectUnauthorized: boolean } {
    const asksClients = this.#content.ca !== undefined;
    return { ...this.#content, requestCert: asksClients, rejectUnauthorized: asksClients };
  }

  /** New connections get what the files hold by then; open ones go on. */
  watch(server: Pick<TlsServer, 'setSecureContext'>, logger: Logger, everyMs = LOOK_MS): void {
    this.#timer = setInterval(() => void this.#look(server, logger), everyMs);
    this.#timer.unref();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #look(server: Pick<TlsServer, 'setSecureContext'>, logger: Logger): Promise<void> {
    try {
      const found = await this.#read();
      this.#trouble = undefined;
      if (JSON.stringify(found) === JSON.stringify(this.#content)) return;
      server.setSecureContext(found);
      this.#content = found;
      logger.info({}, 'The server shows the certificate that is now in its files.');
    } catch (error) {
      this.#complain(error instanceof Error ? error.message : String(error), logger);
    }
  }

  /** Files are replaced one after the other: between them, they need not fit together. */
  async #read(): Promise<Content> {
    const found = new Map<string, string | Error>();
    for (const file of Object.values(this.given) as readonly string[])
      if (!file.includes(PEM))
        found.set(file, await readFile(file, 'utf8').catch((error: unknown) => error as Error));
    return contentOf(this.given, (file) => {
      const text = found.get(file);
      if (typeof text === 'string') return text;
      throw text ?? new Error('it was not read');
    });
  }

  #complain(message: string, logger: Logger): void {
    if (message === this.#trouble) return;
    this.#trouble = message;
    logger.warn({}, `The server keeps the certificate that it has. ${message}`);
  }
}

/** Throws BAD_OPTION. */
function contentOf({ cert, key, ca }: ServerTls, read: (file: string) => string): Content {
  const content = {
    cert: textOf('cert', cert, read),
    key: textOf('key', key, read),
    ...(ca !== undefined && { ca: textOf('ca', ca, read) }),
  };
  try {
    createSecureContext(content);
    return content;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const message = `The certificate and the key of \`tls\` cannot be used (${reason}). Give PEM files that fit together.`;
    throw new AntiphonError('BAD_OPTION', message);
  }
}

/** No message repeats more than a path: the content may be a key. */
function textOf(name: keyof ServerTls, given: string, read: (file: string) => string): string {
  if (given.includes(PEM)) return given;
  let text: string;
  try {
    text = read(given);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
    throw new AntiphonError(
      'BAD_OPTION',
      `The file of \`tls.${name}\` cannot be read (${code}). Give its path.`,
    );
  }
  if (text.includes(PEM)) return text;
  throw new AntiphonError(
    'BAD_OPTION',
    `The file of \`tls.${name}\` is not in PEM format. Give the path of one that is.`,
  );
}
