import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

/** The page becomes static files, which @antiphon/server serves from memory. */
export default defineConfig({
  root: fileURLToPath(new URL('page', import.meta.url)),
  base: '/',
  logLevel: 'warn',
  build: {
    outDir: fileURLToPath(new URL('dist/page', import.meta.url)),
    emptyOutDir: true,
    target: 'es2022',
    // The policy of the page forbids what stands in it, data: URLs included.
    assetsInlineLimit: 0,
    modulePreload: false,
    sourcemap: false,
  },
});
