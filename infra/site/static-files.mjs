import { readFileSync } from 'node:fs';

/**
 * A plugin of Vite: the site has these files as they are, at the addresses under which they are put
 * into `files`, also while it is built.
 *
 * @param {Map<string, string>} files address, and the path of the file
 * @returns {import('vite').Plugin}
 */
export function staticFiles(files) {
  return {
    name: 'antiphon:static-files',
    configureServer({ middlewares }) {
      middlewares.use(({ url = '' }, response, next) => {
        const file = files.get(decodeURI(url.split('?')[0]));
        if (file === undefined) return next();
        response.setHeader(
          'content-type',
          `text/${file.endsWith('.js') ? 'javascript' : 'plain'}; charset=utf-8`,
        );
        response.end(readFileSync(file));
      });
    },
    generateBundle() {
      for (const [address, file] of files)
        this.emitFile({ type: 'asset', fileName: address.slice(1), source: readFileSync(file) });
    },
  };
}
