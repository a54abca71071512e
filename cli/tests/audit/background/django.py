"""What the document on time of check in Django shows without signatures, written again."""
import hashlib
import os
import time

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.http import FileResponse, HttpResponseForbidden, HttpResponseNotFound, JsonResponse
from django.views.generic import DeleteView
from rest_framework import serializers

from blog.models import Order, Post


def remove(request, post_id):
    post = Post.objects.get(id=post_id)
    if post.author != request.user:
        return HttpResponseForbidden()
    post.delete()  # expect: owner-checked-then-changed
    return JsonResponse({"status": "deleted"})


def ship(request, order_id):
    order = Order.objects.get(id=order_id)
    if order.status != "pending":
        return JsonResponse({"error": "not pending"})
    time.sleep(2)
    order.status = "shipped"
    order.save()  # expect: checked-then-changed
    return JsonResponse({"status": "updated"})


def serve(request, filename):
    path = os.path.join(settings.MEDIA_ROOT, filename)
    if not os.path.exists(path):
        return HttpResponseNotFound()
    with open(path, "rb") as file:  # expect: file-checked-then-used link-followed
        return FileResponse(file)


class Remove(DeleteView):
    model = Post

    def get_queryset(self):
        return Post.objects.filter(author=self.request.user)

    def delete(self, request, *args, **kwargs):
        return super().delete(request, *args, **kwargs)  # expect: view-filters-then-acts


class OrderSerializer(serializers.ModelSerializer):
    class Meta:
        model = Order
        fields = ["status", "items"]

    def update(self, instance, validated_data):
        if instance.status != "pending":
            raise serializers.ValidationError("not pending")
        instance.status = validated_data.get("status", instance.status)
        instance.save()  # expect: serializer-checks-instance
        return instance


# The same the other way round, as the document shows what a scanner looks for.
def remove_if_owner(request, post_id):
    post = Post.objects.get(id=post_id)
    if post.author == request.user:
        post.delete()  # expect: owner-checked-then-changed


def remove_if_owner_mended(request, post_id):
    with transaction.atomic():
        post = Post.objects.select_for_update().get(id=post_id)
        if post.author == request.user:
            post.delete()


@transaction.atomic
def remove_mended(request, post_id):
    post = Post.objects.select_for_update().get(id=post_id)
    if post.author != request.user:
        return JsonResponse({"error": "forbidden"}, status=403)
    post.delete()
    return JsonResponse({"status": "deleted"})


@transaction.atomic
def ship_mended(request, order_id):
    order = Order.objects.select_for_update().get(id=order_id)
    if order.status != "pending":
        raise serializers.ValidationError("not pending")
    order.status = "shipped"
    order.save()
    return order


def view(request, post_id):
    post = Post.objects.get(id=post_id)
    if post.view_count >= 0:
        post.view_count += 1  # expect: read-modify-write
        post.save()


def view_mended(request, post_id):
    Post.objects.filter(id=post_id).update(view_count=F("view_count") + 1)


def no_link(path, flags):
    return os.open(path, flags | os.O_NOFOLLOW)


# Mended: the opener refuses links, and what is served is what was looked at.
def serve_mended(request, filename, wanted):
    path = os.path.join(settings.MEDIA_ROOT, filename)
    try:
        file = open(path, "rb", opener=no_link)
    except OSError:
        return HttpResponseNotFound()
    if hashlib.sha256(file.read()).hexdigest() != wanted:
        return HttpResponseNotFound()
    file.seek(0)
    return FileResponse(file)
