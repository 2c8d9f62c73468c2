import { Injectable } from '@nestjs/common';
import { PrismaService } from '../../../database/prisma.service.js';

/** The row that names the store of this database's layers. */
@Injectable()
export class StoreBindingRepository {
  constructor(private readonly prisma: PrismaService) {}

  /** The database chooses the name, in one statement, so that replicas that start at once agree on it. */
  async identity(): Promise<string> {
    const [row] = await this.prisma.$queryRaw<{ identity: string }[]>`
      INSERT INTO store_binding (id, identity) VALUES (1, gen_random_uuid())
      ON CONFLICT (id) DO UPDATE SET identity = store_binding.identity RETURNING identity::text`;
    return row!.identity;
  }

  async adopt(identity: string): Promise<void> {
    await this.prisma.storeBinding.update({ where: { id: 1 }, data: { identity } });
  }

  async knowsLayers(): Promise<boolean> {
    return (await this.prisma.blob.findFirst({ select: { id: true } })) !== null;
  }
}
