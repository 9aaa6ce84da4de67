import { readFileSync, writeFileSync } from 'node:fs';
import { sectionsJson } from './operations-page.js';

// `npm run operations -w @antiphon/cli`: run it after a change of docs/operations.md; a test fails
// until it was.
const page = readFileSync(new URL('../../../../docs/operations.md', import.meta.url), 'utf8');
writeFileSync(new URL('../../pages/operations.json', import.meta.url), sectionsJson(page));
