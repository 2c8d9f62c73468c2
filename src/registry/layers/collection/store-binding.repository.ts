import { randomUUID } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { PrismaService } from '../../../database/prisma.service.js';

/** The row that names the store of this database's layers. */
@Injectable()
export class StoreBindingRepository {
  constructor(private readonly prisma: PrismaService) {}

  /** The database chooses the name, so that replicas that start at once agree on it. */
  async identity(): Promise<string> {
    const { identity } = await this.prisma.storeBinding.upsert({
      where: { id: 1 },
      create: { identity: randomUUID() },
      update: {},
    });
    return identity;
  }

  async adopt(identity: string): Promise<void> {
    await this.prisma.storeBinding.update({ where: { id: 1 }, data: { identity } });
  }

  async knowsLayers(): Promise<boolean> {
    return (await this.prisma.blob.findFirst({ select: { id: true } })) !== null;
  }
}
