"""Objects of a database that are checked, then changed."""
from django.db import IntegrityError, models, transaction
from django.db.models import F
from django.shortcuts import get_object_or_404
from django.utils.decorators import method_decorator
from django.views.generic import DeleteView, UpdateView
from rest_framework import generics, serializers
from sqlalchemy import select

from shop.errors import Refused
from shop.schema import Account, Seat, User
from shop.tasks import fulfil


class Coupon(models.Model):
    code = models.CharField(max_length=20)
    owner = models.ForeignKey("User", on_delete=models.CASCADE)
    used = models.BooleanField(default=False)


class Vote(models.Model):
    user = models.ForeignKey("User", on_delete=models.CASCADE)
    poll = models.ForeignKey("Poll", on_delete=models.CASCADE)


class Like(models.Model):
    user = models.ForeignKey("User", on_delete=models.CASCADE)
    post = models.ForeignKey("Post", on_delete=models.CASCADE)

    class Meta:
        unique_together = [("user", "post")]


class Profile(models.Model):
    user = models.OneToOneField("User", on_delete=models.CASCADE)
    slug = models.SlugField(unique=True)


# checked-then-changed
def redeem(request, code):
    coupon = Coupon.objects.get(code=code)
    if coupon.used:
        raise Refused
    coupon.used = True
    coupon.save()  # expect: checked-then-changed


def cancel(request, pk):
    order = get_object_or_404(Order, pk=pk)
    if order.status in ("shipped", "cancelled"):
        raise Refused
    order.status = "cancelled"
    order.save(update_fields=["status"])  # expect: checked-then-changed


async def reserve(session, seat_id, user_id):
    seat = (await session.execute(select(Seat).where(Seat.id == seat_id))).scalar_one_or_none()
    if seat is None or seat.reserved_by is not None:
        raise Refused
    seat.reserved_by = user_id  # expect: checked-then-changed
    await session.commit()


def pay(db, account_id, amount):
    account = db.query(Account).filter(Account.id == account_id).first()
    if account.balance < amount:
        raise Refused
    account.balance -= amount  # expect: checked-then-changed
    db.commit()


def remove_if_pending(request, pk):
    order = Order.objects.filter(pk=pk).first()
    if order and order.is_pending:
        order.delete()  # expect: checked-then-changed


@transaction.atomic
def in_a_transaction_alone(request, code):
    coupon = Coupon.objects.get(code=code)
    if not coupon.used:
        mark_as_used(coupon)


def mark_as_used(coupon):
    coupon.used = True
    coupon.save()  # expect: checked-then-changed


@transaction.atomic
def locked(request, code):  # fine: checked-then-changed, read-modify-write, lock-outside-transaction
    coupon = Coupon.objects.select_for_update().get(code=code)
    if coupon.used:
        raise Refused
    coupon.used = True
    coupon.save()


def on_a_condition(request, code):  # fine: checked-then-changed
    if not Coupon.objects.filter(code=code, used=False).update(used=True):
        raise Refused


def locked_with_sqlalchemy(db, account_id, amount):  # fine: checked-then-changed, read-modify-write
    account = db.query(Account).filter(Account.id == account_id).with_for_update().first()
    if account.balance < amount:
        raise Refused
    account.balance -= amount
    db.commit()


def branch_returned(request, pk):  # fine: checked-then-changed
    order = Order.objects.get(pk=pk)
    if order.status == "draft":
        return order
    log = AuditLog(order=order)
    log.save()


def only_its_name(request, pk):  # fine: checked-then-changed
    order = Order.objects.get(pk=pk)
    if request.POST["note"]:
        order.note = request.POST["note"]
    order.save()


def closed_again(request, pk):  # fine: checked-then-changed
    room = Room.objects.get(pk=pk)
    if room.status == "closed":
        raise Refused
    room.status = "closed"
    room.save()


def closed_with_a_refund(request, pk):
    sale = Sale.objects.get(pk=pk)
    if sale.status == "closed":
        raise Refused
    sale.status = "closed"
    sale.save()  # expect: checked-then-changed
    Refund.objects.create(sale=sale)


def another_field(request, pk):  # fine: checked-then-changed
    order = Order.objects.get(pk=pk)
    if order.status != "open":
        raise Refused
    order.note = request.POST["note"]
    order.save()


def filled_in(request, pk):  # fine: checked-then-changed
    notice = Notice.objects.get(pk=pk)
    if not notice.date_read:
        notice.date_read = now()
        notice.save()


def what_another_service_says(request, pk, service):  # fine: checked-then-changed
    payment = Payment.objects.get(pk=pk)
    answer = service.ask(payment.amount)
    if answer.code == "error":
        raise Refused
    payment.reference = answer.reference
    payment.save()


# owner-checked-then-changed
def remove_post(request, pk):
    post = Post.objects.get(pk=pk)
    if post.author != request.user:
        raise Refused
    post.delete()  # expect: owner-checked-then-changed


def rename(request, pk):
    board = get_object_or_404(Board, pk=pk)
    if board.owner_id == request.user.id:
        board.name = request.POST["name"]
        board.save()  # expect: owner-checked-then-changed


async def drop(db, pk, user):
    note = await db.get(Note, pk)
    if note.user_id != user.id:
        raise Refused
    await db.delete(note)  # expect: owner-checked-then-changed


def drop_of_query(db, pk, user):
    note = db.query(Note).filter(Note.id == pk).one()
    if note.creator_id != user.id:
        raise Refused
    note.text = ""  # expect: owner-checked-then-changed
    db.commit()


def owner_in_the_query(request, pk):  # fine: owner-checked-then-changed
    Post.objects.filter(pk=pk, author=request.user).delete()


@transaction.atomic
def owner_of_a_locked_row(request, pk):  # fine: owner-checked-then-changed
    post = Post.objects.select_for_update().get(pk=pk)
    if post.author != request.user:
        raise Refused
    post.delete()


def owner_is_shown(request, pk):  # fine: owner-checked-then-changed
    post = Post.objects.get(pk=pk)
    if post.author != request.user:
        raise Refused
    return post


def another_object(request, pk):  # fine: owner-checked-then-changed
    post = Post.objects.get(pk=pk)
    if post.author != request.user:
        raise Refused
    draft = Draft(post=post)
    draft.save()


# view-filters-then-acts
class RemovePost(DeleteView):
    def get_queryset(self):
        return Post.objects.filter(author=self.request.user)

    def delete(self, request, *args, **kwargs):
        return super().delete(request, *args, **kwargs)  # expect: view-filters-then-acts


class ChangePost(UpdateView):
    def get_queryset(self):
        return super().get_queryset().filter(self.request.user)

    def form_valid(self, form):
        return super().form_valid(form)  # expect: view-filters-then-acts


class DestroyPost(generics.DestroyAPIView):
    def get_queryset(self):
        return Post.objects.filter(owner=self.request.user)

    def perform_destroy(self, instance):
        super().perform_destroy(instance)  # expect: view-filters-then-acts


class PostToPost(UpdateView):
    def get_queryset(self):
        return Post.objects.filter(team__members=self.request.user)

    def post(self, request, *args, **kwargs):
        return super().post(request, *args, **kwargs)  # expect: view-filters-then-acts


class LockedRemove(DeleteView):  # fine: view-filters-then-acts
    def get_queryset(self):
        return Post.objects.select_for_update().filter(author=self.request.user)

    def delete(self, request, *args, **kwargs):
        return super().delete(request, *args, **kwargs)


class NoFilter(DeleteView):  # fine: view-filters-then-acts
    def delete(self, request, *args, **kwargs):
        return super().delete(request, *args, **kwargs)


class NoAct(UpdateView):  # fine: view-filters-then-acts
    def get_queryset(self):
        return Post.objects.filter(author=self.request.user)


class AList(generics.ListAPIView):  # fine: view-filters-then-acts
    def get_queryset(self):
        return Post.objects.filter(author=self.request.user)


# serializer-checks-instance
class OneSerializer(serializers.ModelSerializer):
    def update(self, instance, validated_data):
        if instance.status != "open":
            raise serializers.ValidationError("closed")
        instance.title = validated_data["title"]
        instance.save()  # expect: serializer-checks-instance
        return instance


class TwoSerializer(serializers.Serializer):
    def update(self, instance, validated_data):
        if instance.is_paid:
            raise serializers.ValidationError("paid")
        return super().update(instance, validated_data)  # expect: serializer-checks-instance


class ThreeSerializer(OneSerializer):
    def update(self, instance, validated_data):
        amount = validated_data["amount"]
        if instance.balance >= amount:
            instance.balance = instance.balance - amount
            instance.save(update_fields=["balance"])  # expect: serializer-checks-instance
        return instance


class FourSerializer(serializers.HyperlinkedModelSerializer):
    def update(self, instance, validated_data):
        if instance.locked or instance.archived:
            raise serializers.ValidationError("locked")
        instance.save()  # expect: serializer-checks-instance


class FineSerializer(serializers.ModelSerializer):
    def update(self, instance, validated_data):  # fine: serializer-checks-instance
        instance.title = validated_data["title"]
        instance.save()
        return instance


class LockedSerializer(serializers.ModelSerializer):
    def update(self, instance, validated_data):  # fine: serializer-checks-instance
        with transaction.atomic():
            row = Order.objects.select_for_update().get(pk=instance.pk)
            if row.status != "open":
                raise serializers.ValidationError("closed")
            return super().update(row, validated_data)


class NoSerializer:
    def update(self, instance, data):  # fine: serializer-checks-instance
        if instance.status != "open":
            raise Refused
        instance.save()


class CheckedInValidate(serializers.ModelSerializer):
    def validate(self, attrs):  # fine: serializer-checks-instance
        if self.instance.status != "open":
            raise serializers.ValidationError("closed")
        return attrs


# read-modify-write
def count_up(request, pk):
    post = Post.objects.get(pk=pk)
    post.views += 1  # expect: read-modify-write
    post.save()


def add_points(user_id, points):
    profile = Profile.objects.get(user_id=user_id)
    profile.points = profile.points + points  # expect: read-modify-write
    profile.save(update_fields=["points"])


async def top_up(session, account_id, amount):
    account = await session.get(Account, account_id)
    account.balance += amount  # expect: read-modify-write
    await session.commit()


async def with_tortoise(wallet_id, amount):
    wallet = await Wallet.get_or_none(id=wallet_id)
    wallet.coins -= amount  # expect: read-modify-write
    await wallet.save()


def in_the_database(pk):  # fine: read-modify-write
    Post.objects.filter(pk=pk).update(views=F("views") + 1)


def with_an_expression(pk):  # fine: read-modify-write
    post = Post.objects.get(pk=pk)
    post.views = F("views") + 1
    post.save()


def a_new_object(amount):  # fine: read-modify-write
    bill = Bill(total=0)
    bill.total += amount
    bill.save()


def text_is_no_count(pk):  # fine: read-modify-write
    post = Post.objects.get(pk=pk)
    post.text += "\n-- signed"
    post.save()


# get-or-create-without-unique
def vote(user, poll):
    return Vote.objects.get_or_create(user=user, poll=poll)  # expect: get-or-create-without-unique


def coupon_of(code, owner):
    return Coupon.objects.get_or_create(code=code, defaults={"owner": owner})  # expect: get-or-create-without-unique


def vote_again(user, poll):
    Vote.objects.update_or_create(user=user, defaults={"poll": poll})  # expect: get-or-create-without-unique


def coupon_of_owner(owner):
    made, _ = Coupon.objects.update_or_create(owner=owner, used=False)  # expect: get-or-create-without-unique
    return made


def like(user, post):  # fine: get-or-create-without-unique
    return Like.objects.get_or_create(user=user, post=post)


def profile_of(user):  # fine: get-or-create-without-unique
    return Profile.objects.get_or_create(user=user)


def profile_by_slug(slug):  # fine: get-or-create-without-unique
    return Profile.objects.get_or_create(slug=slug)


def of_elsewhere(name):  # fine: get-or-create-without-unique
    return Tag.objects.get_or_create(name=name)


# unique-checked-then-inserted
def sign_up(request):
    if User.objects.filter(email=request.POST["email"]).exists():
        raise Refused
    return User.objects.create(email=request.POST["email"])  # expect: unique-checked-then-inserted


def register(db, body):
    if db.query(User).filter(User.email == body.email).first():
        raise Refused
    user = User(email=body.email)
    db.add(user)  # expect: unique-checked-then-inserted
    db.commit()


def note_event(db, event_id):
    if db.query(models.Event).filter_by(event_id=event_id).first():
        return
    event = models.Event(event_id=event_id)
    db.add(event)  # expect: unique-checked-then-inserted
    db.commit()


async def register_async(session, body):
    found = await session.scalar(select(User).where(User.name == body.name))
    if found is not None:
        raise Refused
    session.add(User(name=body.name))  # expect: unique-checked-then-inserted


def take(request, code):
    is_used = Redemption.objects.filter(code=code).exists()
    if not is_used:
        Redemption.objects.create(code=code, user=request.user)  # expect: unique-checked-then-inserted


def with_its_error(request):  # fine: unique-checked-then-inserted
    if User.objects.filter(email=request.POST["email"]).exists():
        raise Refused
    try:
        return User.objects.create(email=request.POST["email"])
    except IntegrityError:
        raise Refused from None


def another_model(request):  # fine: unique-checked-then-inserted
    if not Plan.objects.filter(name="free").exists():
        raise Refused
    return User.objects.create(email=request.POST["email"])


def one_step(request):  # fine: unique-checked-then-inserted
    user, is_new = User.objects.get_or_create(email=request.POST["email"])
    return user


def of_another_field(request, pk):  # fine: unique-checked-then-inserted
    parent = Event.objects.filter(id=pk).first()
    if parent is None:
        raise Refused
    return Event.objects.create(kind="answer", parent=parent)


def counts_and_adds(request):  # fine: unique-checked-then-inserted
    total = User.objects.count()
    user = User.objects.create(email=request.POST["email"])
    return total, user


# lock-outside-transaction
def lock_alone(request, pk):
    order = Order.objects.select_for_update().get(pk=pk)  # expect: lock-outside-transaction
    return order


def lock_first(request, pk):
    order = Order.objects.select_for_update().filter(pk=pk).first()  # expect: lock-outside-transaction
    return order


@receiver(pre_delete, sender=Order)
def lock_of_a_signal(sender, instance, **kwargs):  # fine: lock-outside-transaction
    return Order.objects.select_for_update().get(pk=instance.pk)


class Pay:
    def post(self, request, pk):
        account = Account.objects.select_for_update(nowait=True).get(pk=pk)  # expect: lock-outside-transaction
        return account


async def lock_async(request, pk):
    return await Order.objects.select_for_update().aget(pk=pk)  # expect: lock-outside-transaction


def lock_within(request, pk):  # fine: lock-outside-transaction
    with transaction.atomic():
        return Order.objects.select_for_update().get(pk=pk)


def order_of(pk):  # fine: lock-outside-transaction
    return Order.objects.select_for_update().get(pk=pk)


@transaction.atomic
def calls_order_of(request, pk):  # fine: lock-outside-transaction
    return order_of(pk)


@method_decorator(transaction.atomic, name="dispatch")
class PayWithin:
    def post(self, request, pk):  # fine: lock-outside-transaction
        return Account.objects.select_for_update().get(pk=pk)


# task-before-commit
def place(request):
    with transaction.atomic():
        order = Order.objects.create(user=request.user)
        fulfil.delay(order.id)  # expect: task-before-commit


@transaction.atomic
def place_decorated(request):
    order = Order(user=request.user)
    order.save()
    fulfil.apply_async(args=[order.id])  # expect: task-before-commit


def place_with_sqlalchemy(db, body):
    order = Order(**body)
    db.add(order)
    db.flush()
    fulfil.delay(order.id)  # expect: task-before-commit
    db.commit()


def place_queue(request, queue):
    with transaction.atomic():
        Order.objects.filter(pk=1).update(state="paid")
        queue.enqueue("fulfil", 1)  # expect: task-before-commit


def on_commit(request):  # fine: task-before-commit
    with transaction.atomic():
        order = Order.objects.create(user=request.user)
        transaction.on_commit(lambda: fulfil.delay(order.id))


def after_the_block(request):  # fine: task-before-commit
    with transaction.atomic():
        order = Order.objects.create(user=request.user)
    fulfil.delay(order.id)


def after_commit_of_sqlalchemy(db, body):  # fine: task-before-commit
    order = Order(**body)
    db.add(order)
    db.commit()
    fulfil.delay(order.id)


@transaction.atomic
def next_batch(request, offset):  # fine: task-before-commit
    Order.objects.filter(pk__gt=offset).update(state="old")
    next_batch.delay(offset + 100)


@transaction.atomic
def nothing_written(request):  # fine: task-before-commit
    fulfil.delay(request.GET["id"])
