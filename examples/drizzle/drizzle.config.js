/** For `npx drizzle-kit generate`, which writes the migrations below `drizzle`. */
export default { dialect: 'sqlite', schema: './src/schema.ts', out: './drizzle' };
