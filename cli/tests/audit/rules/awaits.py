"""Values that a task reads before it waits, and writes after it."""
import asyncio

from discord.ext import commands

from shop import rates, wheel

chips = {}
stock = {"pens": 0, "ink": 0}
visits = 0
served = 0
door = asyncio.Lock()


# changed-across-await
# seen in Marinoep/casino-bot, main.py
@commands.command()
async def spin(ctx, stake: int):
    held = chips.get(ctx.author.id, 100)
    if stake > held:
        await ctx.reply("that is more than you have")
        return
    if wheel.spin() == "red":
        held += stake
        await ctx.reply(f"red: you have {held}")
    else:
        held -= stake
        await ctx.reply(f"black: you have {held}")
    chips[ctx.author.id] = held  # expect: changed-across-await


# seen in ixenion/staff, python/books/asyncio_Recipies/01_asyncio_Lock.py
async def deliver(what, many):
    there = stock[what]
    await asyncio.sleep(many / 10)
    stock[what] = there + many  # expect: changed-across-await


# seen in concurrency-in-python-with-asyncio/concurrency-in-python-with-asyncio, chapter_11/listing_11_2.py
async def count_a_visit():
    global visits
    counted = visits
    counted = counted + 1
    await asyncio.sleep(0)
    visits = counted  # expect: changed-across-await


# seen in Apress/advanced-python-development, Ch07/listing07-16-async_increment_unsafe.py
async def count_a_guest(table):
    global visits, served
    served += await table.seats()  # expect: changed-across-await


class Till:
    # seen in Fleonex-dev/System-Design, 01_python_essentials/concurrency/03_race_conditions.py
    async def put(self, coins):
        inside = self.inside
        await self.print(coins)
        self.inside = inside + coins  # expect: changed-across-await

    async def put_in_one_line(self, source):
        self.inside = self.inside + await source.coins()  # expect: changed-across-await

    async def take_what_there_is(self, coins):
        inside = max(self.inside - coins, 0)
        await self.print(coins)
        self.inside = inside  # expect: changed-across-await

    async def read_under_one_lock(self, coins):
        async with self.lock:
            inside = self.inside
        await self.print(coins)
        async with self.lock:
            self.inside = inside + coins  # expect: changed-across-await

    async def put_behind_the_wait(self, source):  # fine: changed-across-await
        self.inside = await source.coins() + self.inside

    async def opened_and_shut(self, work):  # fine: changed-across-await
        before = self.is_open
        self.is_open = True
        await work()
        self.is_open = before

    async def waits_only_to_refuse(self, coins):  # fine: changed-across-await
        inside = self.inside
        if coins < 0:
            await self.print("no")
            return
        self.inside = inside + coins


# seen in boisgera/asyncio, 23_shared.py
async def count_alone(many):  # fine: changed-across-await
    global visits
    await door.acquire()
    counted = visits
    await asyncio.sleep(0)
    counted += many
    visits = counted
    door.release()


# seen in pydevcasts/python_course, Asyncio/lock.py
async def count_within(lock):  # fine: changed-across-await
    global visits
    async with lock:
        counted = visits
        counted += 1
        await asyncio.sleep(0.1)
        visits = counted


async def a_stock_of_its_own(many):  # fine: changed-across-await
    stock = await rates.read()
    there = stock["pens"]
    await asyncio.sleep(0)
    stock["pens"] = there + many


async def a_visit_of_its_own():  # fine: changed-across-await
    visits = 0
    counted = visits
    await asyncio.sleep(0)
    visits = counted + 1
    return visits
