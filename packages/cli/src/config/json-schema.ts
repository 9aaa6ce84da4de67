import { z } from 'zod';
import { configSchema } from './schema.js';

/**
 * JSON Schema of antiphon.yaml, for editors; written to schema/antiphon.schema.json by
 * `npm run schema`.
 */
export function configJsonSchema(): object {
  const schema = z.toJSONSchema(configSchema, { target: 'draft-07', io: 'output' });
  return { ...schema, title: 'antiphon.yaml' };
}

export function configJsonSchemaText(): string {
  return `${JSON.stringify(configJsonSchema(), undefined, 2)}\n`;
}
