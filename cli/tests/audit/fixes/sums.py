"""Numbers that are read, changed and written back."""
from django.db import models


class Post(models.Model):
    views = models.IntegerField(default=0)

    class Meta:
        app_label = "audit"


def one_more(pk, between):
    post = Post.objects.get(pk=pk)
    between()
    post.views += 1
    post.save()


def less_a_difference(pk, between, a, b):
    post = Post.objects.get(pk=pk)
    between()
    post.views -= a - b
    post.save()


def in_words(pk, between):
    post = Post.objects.get(pk=pk)
    between()
    post.views = post.views + 2
    post.save()
