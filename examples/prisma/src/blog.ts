import { ImmediateSqlite } from './immediate-sqlite.ts';
import { PrismaClient } from './generated/client.ts';

export class Blog {
  readonly #prisma: PrismaClient;

  constructor(file: string) {
    // How long a statement waits while the replica writes, in milliseconds.
    const adapter = new ImmediateSqlite({ url: `file:${file}`, timeout: 5000 });
    this.#prisma = new PrismaClient({ adapter });
  }

  /** With its categories, of which some may be there: rows of three tables, all or none. */
  async write(title: string, categories: readonly string[]): Promise<number> {
    const { id } = await this.#prisma.post.create({
      data: {
        title,
        categories: {
          connectOrCreate: categories.map((name) => ({ where: { name }, create: { name } })),
        },
      },
    });
    return id;
  }

  async moveTo(id: number, category: string): Promise<void> {
    await this.#prisma.post.update({
      where: { id },
      data: {
        categories: { set: [], connectOrCreate: { where: { name: category }, create: { name: category } } },
      },
    });
  }

  /** What is read decides what is written. */
  view(id: number): Promise<number> {
    return this.#prisma.$transaction(async (tx) => {
      const { views } = await tx.post.findUniqueOrThrow({ where: { id } });
      await tx.post.update({ where: { id }, data: { views: views + 1 } });
      return views + 1;
    });
  }

  async index(): Promise<readonly string[]> {
    const categories = await this.#prisma.category.findMany({
      include: { posts: { orderBy: { id: 'asc' } } },
      orderBy: { name: 'asc' },
    });
    return categories.map(
      ({ name, posts }) => `${name}: ${posts.map(({ title, views }) => `${title} (${views})`).join(', ')}`,
    );
  }

  close(): Promise<void> {
    return this.#prisma.$disconnect();
  }
}
