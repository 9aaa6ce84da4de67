/** For `npx prisma generate` and `npx prisma migrate`. */
export default { schema: 'prisma/schema.prisma', datasource: { url: 'file:./blog.db' } };
