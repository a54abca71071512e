"""Objects of a database that are checked, then changed."""
from django.db import IntegrityError, models, transaction
from django.db.models import F
from django.core.exceptions import PermissionDenied
from django.http import HttpResponseForbidden, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.utils.decorators import method_decorator
from django.views.generic import DeleteView, UpdateView, View
from rest_framework import generics, serializers
from sqlalchemy import select

from shop.errors import NotFound, Refused
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


# seen in horilla-opensource/horilla, horilla_api/api_views/leave/views.py
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


# seen in SharkTrchBrasil/back_end_python_fastAPI, src/api/admin/services/stock_service.py
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


# seen in mozilla/kitsune, kitsune/forums/views.py
def rename(request, pk):
    board = get_object_or_404(Board, pk=pk)
    if board.is_locked or not (request.user == board.creator or may_edit(request.user)):
        raise PermissionDenied
    board.title = request.POST["title"]
    board.save()  # expect: owner-checked-then-changed


# seen in wagtail/wagtail, wagtail/admin/views/generic/multiple_upload.py
class EndUpload(View):
    def post(self, request, upload_id):
        self.upload = get_object_or_404(Upload, id=upload_id)
        if self.upload.uploaded_by_user != request.user:
            raise PermissionDenied
        self.upload.delete()  # expect: owner-checked-then-changed


# seen in makeplane/plane, apps/api/plane/api/views/intake.py
def drop_work(request, pk):
    work = Work.objects.filter(pk=pk).first()
    if work.created_by_id != request.user.id and not is_admin(request.user):
        return HttpResponseForbidden()
    work.delete()  # expect: owner-checked-then-changed


# seen in fastapi/full-stack-fastapi-template, backend/app/api/routes/items.py
def drop(session, pk, user):
    note = session.get(Note, pk)
    if not note:
        raise NotFound
    if not user.is_superuser and (note.owner_id != user.id):
        raise Refused
    session.delete(note)  # expect: owner-checked-then-changed
    session.commit()


def drop_of_query(db, pk, user):
    note = db.query(Note).filter(Note.id == pk).one()
    if note.creator_id != user.id:
        raise Refused
    note.text = ""  # expect: owner-checked-then-changed
    db.commit()


# seen in healthchecks/healthchecks, hc/accounts/views.py
def owner_in_the_query(request, pk):  # fine: owner-checked-then-changed
    Post.objects.filter(pk=pk, author=request.user).delete()


@transaction.atomic
def owner_of_a_locked_row(request, pk):  # fine: owner-checked-then-changed
    post = Post.objects.select_for_update().get(pk=pk)
    if post.author != request.user:
        raise Refused
    post.delete()


# seen in Asmolu/telegram-shop-platform, backend/app/modules/returns/service.py
def owner_of_a_locked_request(repository, pk, user_id):  # fine: owner-checked-then-changed, checked-then-changed
    wish = repository.get_by_id(pk, for_update=True)
    if wish is None or wish.user_id != user_id:
        raise NotFound
    if wish.status != "pending":
        raise Refused
    wish.status = "cancelled"
    repository.commit()


# seen in fastapi/full-stack-fastapi-template, backend/app/api/routes/items.py
def owner_is_shown(request, pk):  # fine: owner-checked-then-changed
    post = Post.objects.get(pk=pk)
    if post.author != request.user:
        raise Refused
    return post


# seen in DMOJ/online-judge, judge/views/comment.py
def another_object(request, pk):  # fine: owner-checked-then-changed
    post = Post.objects.filter(pk=pk).first()
    if post.author == request.user:
        raise Refused
    vote = PostVote()
    vote.post = post
    vote.save()


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


class ChangeInTwoSteps(UpdateView):
    def get_queryset(self):
        return Post.objects.filter(author=self.request.user)
    def form_valid(self, form):
        post = form.save(commit=False)  # expect: view-filters-then-acts
        post.changed_by = self.request.user
        post.save()
        return redirect(post)


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


# seen in haseebig98/Unescolist, unesco/owner.py
class OnlyOwn(LoginRequiredMixin, DeleteView):  # fine: view-filters-then-acts
    def get_queryset(self):
        rows = super(OnlyOwn, self).get_queryset()
        return rows.filter(owner=self.request.user)


class NoAct(UpdateView):  # fine: view-filters-then-acts
    def get_queryset(self):
        return Post.objects.filter(author=self.request.user)


# seen in vladimirmyshkovski/django-wallets, wallets/views.py
class AList(generics.ListAPIView):  # fine: view-filters-then-acts
    def get_queryset(self):
        return Post.objects.filter(author=self.request.user)


# seen in danhooper/home-page, reusable_django/reusable_django/views.py
class ChangeOwn(UpdateView):
    def get_queryset(self):
        return self.model.objects.filter(user=self.request.user)
    def form_valid(self, form):
        form.instance.user = self.request.user
        return super(ChangeOwn, self).form_valid(form)  # expect: view-filters-then-acts


# seen in AbdulRahimanKS/CozaStore, shop_admin/views/pincode_views.py
class ChangeArea(OfAShop, UpdateView):
    def get_queryset(self):
        return Area.objects.filter(made_by=self.request.user)
    def form_valid(self, form):
        answer = super().form_valid(form)  # expect: view-filters-then-acts
        note(self.request, "changed")
        return answer


# seen in Sofya-Ageeva/Medical_Diagnostics, appointments/views.py
class CancelVisit(LoginRequiredMixin, DeleteView):
    def get_queryset(self):
        return Visit.objects.filter(user=self.request.user)
    def form_valid(self, form):
        note(self.request, "cancelled")
        return super().form_valid(form)  # expect: view-filters-then-acts


# seen in pycodebr/finanpy_v2, accounts/views.py
class ChangePurse(LoginRequiredMixin, UpdateView):
    def get_queryset(self):
        """Only one's own."""
        return Purse.objects.filter(user=self.request.user)
    def get_form_kwargs(self):
        return super().get_form_kwargs() | {"user": self.request.user}
    def form_valid(self, form):
        note(self.request, f"{form.instance.name} is changed")
        return super().form_valid(form)  # expect: view-filters-then-acts


# seen in django-oscar/django-oscar, src/oscar/apps/customer/views.py
class RemoveAddress(DeleteView):  # fine: view-filters-then-acts
    def get_queryset(self):
        return Address._default_manager.filter(user=self.request.user)
    def get_success_url(self):
        note(self.request, self.object.summary)
        return super().get_success_url()


# seen in pennersr/django-allauth, allauth/mfa/webauthn/views.py
class RemoveKey(DeleteView):  # fine: view-filters-then-acts
    def get_queryset(self):
        return Key.objects.filter(user=self.request.user, kind="webauthn")
    def form_valid(self, form):
        remove_key(self.request, self.get_object())
        return HttpResponseRedirect(self.get_success_url())


# serializer-checks-instance
# seen in CarmenHerreraB/csra_globaltek_v1, backend/activos/apis/serializers/duenodeactivo_serializer.py
class DefaultStays(serializers.ModelSerializer):
    def update(self, instance, validated_data):  # fine: serializer-checks-instance
        if instance.is_default:
            raise serializers.ValidationError("default")
        return super().update(instance, validated_data)


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


# seen in NurulloMahmud/mprint, manufacture/serializers.py
class OnlyForward(serializers.ModelSerializer):
    def update(self, instance, validated_data):
        if self.context["request"].user.role != "owner":
            if instance.status.name in ["checked", "sent"] and validated_data["status"].name == "open":
                raise serializers.ValidationError("only forward")
        instance.status = validated_data.get("status", instance.status)
        instance.save()  # expect: serializer-checks-instance
        return instance


# seen in ministryofjustice/money-to-prisoners-api, mtp_api/apps/payment/serializers.py
class WhilePending(serializers.ModelSerializer):
    @transaction.atomic
    def update(self, instance, validated_data):
        if instance.status != "pending":
            raise Refused('"%s" is final' % instance.status)
        address = validated_data.pop("address", None)
        if address:
            validated_data["address"] = Address.objects.create(**address)
        return super().update(instance, validated_data)  # expect: serializer-checks-instance


# seen in FaridunDev/Kutubxona, borrowing/serializers.py
class GivenBack(serializers.ModelSerializer):
    def update(self, instance, validated_data):
        if instance.is_returned:
            raise serializers.ValidationError("given back before")
        instance.back_on = validated_data.get("back_on")
        instance.is_returned = True
        instance.save()  # expect: serializer-checks-instance
        volume = instance.volume
        volume.status = "free"
        volume.save()
        return instance


# seen in BombFunding/Backend, balance/serializers.py
class Spent(serializers.Serializer):
    def update(self, instance, validated_data):
        if instance.balance - validated_data.get("sum") < 0:
            raise serializers.ValidationError({"sum": "not enough"})
        instance.balance = instance.balance - validated_data.get("sum")
        instance.save()  # expect: serializer-checks-instance
        return instance


# seen in horilla-opensource/horilla, horilla_api/api_serializers/attendance/serializers.py
class OwnerStays(serializers.ModelSerializer):
    def update(self, instance, validated_data):  # fine: serializer-checks-instance
        if "employee" in validated_data:
            validated_data.pop("employee")
        return super().update(instance, validated_data)


# seen in amirhossein-moloki/django-ecommerce-api, account/serializers.py
class WithAProfile(serializers.ModelSerializer):
    def update(self, instance, validated_data):  # fine: serializer-checks-instance
        if "password" in validated_data:
            instance.set_password(validated_data.pop("password"))
        return super().update(instance, validated_data)


# seen in paperless-ngx/paperless-ngx, src/paperless/serialisers.py
class WithALogo(serializers.ModelSerializer):
    def update(self, instance, validated_data):  # fine: serializer-checks-instance
        if instance.logo and "logo" in validated_data:
            instance.logo.delete()
        return super().update(instance, validated_data)


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
# seen in bookwyrm-social/bookwyrm, bookwyrm/models/housekeeping.py
def count_up(request, pk):
    post = Post.objects.get(pk=pk)
    post.views += 1  # expect: read-modify-write
    post.save(update_fields=["views"])


# seen in stanmart1/readnwin-fastapi, readnwin-backend/routers/cart.py
def put_in_the_basket(db, user_id, item):
    line = db.query(Line).filter(Line.user_id == user_id, Line.book_id == item.book_id).first()
    if line:
        line.quantity += item.quantity  # expect: read-modify-write
    db.commit()


def add_points(user_id, points):
    profile = Profile.objects.get(user_id=user_id)
    profile.points = profile.points + points  # expect: read-modify-write
    profile.save(update_fields=["points"])


# seen in l0nelynx/xray-vpn-bot, app/database/requests.py
async def top_up(session, code, days):
    account = await session.scalar(select(Account).where(Account.code == code))
    if not account:
        return None
    account.days += days  # expect: read-modify-write
    await session.commit()


async def with_tortoise(wallet_id, amount):
    wallet = await Wallet.get_or_none(id=wallet_id)
    wallet.coins -= amount  # expect: read-modify-write
    await wallet.save()


# seen in amirhossein-moloki/django-ecommerce-api, blog/tasks.py
def in_the_database(pk):  # fine: read-modify-write
    Post.objects.filter(pk=pk).update(views=F("views") + 1)


# seen in taigaio/taiga-back, taiga/projects/votes/services.py
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


# seen in NzeStan/Django-Paystack-Wallet, wallet/tasks.py
def settle(wallet_id, service):
    try:
        wallet = Wallet.objects.select_for_update().get(pk=wallet_id)  # expect: lock-outside-transaction
        for plan in Plan.objects.filter(wallet=wallet, is_active=True):
            with transaction.atomic():
                service.settle(wallet, plan)
    except Wallet.DoesNotExist:
        raise NotFound from None


# seen in taigaio/taiga-back, taiga/base/utils/slug.py
def next_number(project, field, model):
    row = project.__class__.objects.select_for_update().get(pk=project.pk)  # expect: lock-outside-transaction
    number = getattr(row, field) + 1
    while True:
        if not model.objects.filter(number=number, project=row).exists():
            setattr(row, field, number)
            row.save(update_fields=[field])
            return number
        number += 1


# get-or-create-without-unique
# seen in horilla-opensource/horilla, base/announcement.py
def vote(user, poll):
    return Vote.objects.get_or_create(user=user, poll=poll)  # expect: get-or-create-without-unique


# seen in amirhossein-moloki/django-ecommerce-api, cart/cart.py
def coupon_of(code, owner):
    return Coupon.objects.get_or_create(code=code, defaults={"owner": owner})  # expect: get-or-create-without-unique


def vote_again(user, poll):
    Vote.objects.update_or_create(user=user, defaults={"poll": poll})  # expect: get-or-create-without-unique


# seen in mozilla/kitsune, kitsune/users/views.py
def coupon_of_owner(owner, code):
    made, _ = Coupon.objects.get_or_create(owner=owner, used=False, defaults={"code": code})  # expect: get-or-create-without-unique
    return made


# seen in wger-project/wger, wger/trophies/services/trophy.py
def voted_or_new(user, poll, progress):
    made, is_new = Vote.objects.get_or_create(user=user, poll=poll, defaults={"progress": progress})  # expect: get-or-create-without-unique
    return is_new


# seen in wagtail/wagtail, wagtail/admin/views/pages/edit.py
def like(user, post):  # fine: get-or-create-without-unique
    return Like.objects.get_or_create(user=user, post=post)


# seen in DMOJ/online-judge, judge/views/register.py
def profile_of(user):  # fine: get-or-create-without-unique
    return Profile.objects.get_or_create(user=user)


# seen in healthchecks/healthchecks, hc/api/models.py
def profile_by_slug(slug):  # fine: get-or-create-without-unique
    return Profile.objects.get_or_create(slug=slug)


# seen in paperless-ngx/paperless-ngx, src/paperless/adapter.py
def of_elsewhere(name):  # fine: get-or-create-without-unique
    return Tag.objects.get_or_create(name=name)


# unique-checked-then-inserted
# seen in makeplane/plane, apps/api/plane/api/serializers/issue.py
def sign_up(request):
    if User.objects.filter(email=request.POST["email"]).exists():
        raise Refused
    return User.objects.create(email=request.POST["email"])  # expect: unique-checked-then-inserted


# seen in stanmart1/readnwin-fastapi, readnwin-backend/routers/admin_authors_categories.py
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


# seen in miguelgrinberg/microblog, app/api/users.py
def register_by_name(db, data):
    if db.session.scalar(select(User).where(User.name == data["name"])):
        raise Refused
    user = User(name=data["name"])
    db.session.add(user)  # expect: unique-checked-then-inserted
    db.session.commit()


# seen in bookwyrm-social/bookwyrm, bookwyrm/models/bookwyrm_import_job.py
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


# seen in hastexo/webhook-receiver, webhook_receiver_woocommerce/utils.py
def one_step(request):  # fine: unique-checked-then-inserted
    user, is_new = User.objects.get_or_create(email=request.POST["email"])
    return user


def of_another_field(request, pk):  # fine: unique-checked-then-inserted
    parent = Event.objects.filter(id=pk).first()
    if parent is None:
        raise Refused
    return Event.objects.create(kind="answer", parent=parent)


# seen in getredash/redash, redash/handlers/users.py
def inserted_at_once(body):  # fine: unique-checked-then-inserted
    user = User(name=body["name"], email=body["email"])
    try:
        db.session.add(user)
        db.session.commit()
    except IntegrityError:
        raise Refused from None


def counts_and_adds(request):  # fine: unique-checked-then-inserted
    total = User.objects.count()
    user = User.objects.create(email=request.POST["email"])
    return total, user


# lock-outside-transaction
# seen in prashant-dev1404/django-wallet, backend/payouts/services.py
def end_payout(payout_id):
    try:
        payout = Payout.objects.select_for_update().get(id=payout_id)  # expect: lock-outside-transaction
        payout.save()
    except Payout.DoesNotExist:
        raise Refused from None


# seen in veryacademy/Django-ORM-Mastery-DJ003, 020-Transaction-Atomicity/bank/views.py
def pay_between(request):
    if request.method == "POST":
        payer = Account.objects.select_for_update().get(name=request.POST["from"])  # expect: lock-outside-transaction
    with transaction.atomic():
        payer.save()


def lock_alone(request, pk):
    order = Order.objects.select_for_update().get(pk=pk)  # expect: lock-outside-transaction
    return order


def lock_first(request, pk):
    order = Order.objects.select_for_update().filter(pk=pk).first()  # expect: lock-outside-transaction
    return order


# seen in netbox-community/netbox, netbox/dcim/signals.py
@receiver(pre_delete, sender=Order)
def lock_of_a_signal(sender, instance, **kwargs):  # fine: lock-outside-transaction
    return Order.objects.select_for_update().get(pk=instance.pk)


class Pay:
    def post(self, request, pk):
        account = Account.objects.select_for_update(nowait=True).get(pk=pk)  # expect: lock-outside-transaction
        return account


async def lock_async(request, pk):
    return await Order.objects.select_for_update().aget(pk=pk)  # expect: lock-outside-transaction


# seen in healthchecks/healthchecks, hc/api/models.py
def lock_within(request, pk):  # fine: lock-outside-transaction
    with transaction.atomic():
        return Order.objects.select_for_update().get(pk=pk)


# seen in bookwyrm-social/bookwyrm, bookwyrm/models/housekeeping.py
class AfterATask:
    def after_return(self, status, kwargs):  # fine: lock-outside-transaction, read-modify-write
        with transaction.atomic():
            job = Job.objects.select_for_update().get(id=kwargs["job"])
            job.done += 1
            job.save(update_fields=["done"])
            is_finished = job.done == job.tasks
        if is_finished:
            job.end()


# seen in prashant-dev1404/django-wallet, backend/ledger/services.py
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
# seen in Flagsmith/flagsmith, api/cohorts/services.py
def place(request):
    with transaction.atomic():
        Order.objects.filter(user=request.user).update(state="ending")
        fulfil.delay(kwargs={"user": request.user.id})  # expect: task-before-commit


# seen in gotoUSA/django-shopping-mall, shopping/services/email_verification_service.py
@transaction.atomic
def mail_again(user):
    token = Token.objects.create(user=user)
    send_mail.delay(user_id=user.id, token_id=token.id)  # expect: task-before-commit


# seen in amirhossein-moloki/django-ecommerce-api, orders/services.py
@transaction.atomic
def place_decorated(request, data):
    form = OrderForm(data=data)
    form.is_valid(raise_exception=True)
    order = form.save()
    fulfil.delay(order.id)  # expect: task-before-commit


# seen in bookwyrm-social/bookwyrm, bookwyrm/models/bookwyrm_export_job.py
def place_with_all(job):
    with transaction.atomic():
        job.content = everything_of(job.user)
        job.save(update_fields=["content"])
        fulfil.delay(job_id=job.id)  # expect: task-before-commit


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


# seen in NzeStan/Django-Paystack-Wallet, wallet/signals/handlers.py
def on_commit(request):  # fine: task-before-commit
    with transaction.atomic():
        order = Order.objects.create(user=request.user)
        transaction.on_commit(lambda: fulfil.delay(order.id))


# seen in paperless-ngx/paperless-ngx, src/documents/bulk_edit.py
def after_many(ids, tags):  # fine: task-before-commit
    with transaction.atomic():
        Order.objects.filter(id__in=ids).delete()
        Order.objects.bulk_create(orders_of(ids, tags))
    fulfil.delay(order_ids=ids)


# seen in Flagsmith/flagsmith, api/segments/services.py
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
