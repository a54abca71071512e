//! Statements that Diesel and SeaORM build, and rows that are read before.

use diesel::prelude::*;
use sea_orm::{ActiveModelTrait, EntityTrait, QuerySelect};

// select-then-write: Diesel
fn withdraw(conn: &mut PgConnection, id: i64, amount: i64) -> Result<(), Refused> {
    let account = accounts::table.find(id).first::<Account>(conn)?;
    if account.balance < amount {
        return Err(Refused);
    }
    diesel::update(accounts::table.find(id)) // expect: select-then-write
        .set(accounts::balance.eq(account.balance - amount))
        .execute(conn)?;
    Ok(())
}

fn of_the_row(conn: &mut PgConnection, code: &str) -> Result<(), Refused> {
    let coupon: Coupon = coupons.filter(name.eq(code)).get_result(conn)?;
    if coupon.used {
        return Err(Refused);
    }
    diesel::update(&coupon).set(used.eq(true)).execute(conn)?; // expect: select-then-write
    Ok(())
}

async fn removed(conn: &mut AsyncPgConnection, key: Uuid) -> Result<(), Refused> {
    let invite = schema::invites::table.filter(schema::invites::id.eq(key)).first::<Invite>(conn).await.optional()?;
    match invite {
        Some(invite) if invite.is_open => {
            diesel::delete(schema::invites::table.filter(schema::invites::id.eq(key))).execute(conn).await?; // expect: select-then-write
            Ok(())
        }
        _ => Err(Refused),
    }
}

fn recorded(conn: &mut PgConnection, event: &str) -> Result<bool, Refused> {
    let seen = events::table.filter(events::id.eq(event)).first::<Event>(conn).optional()?;
    if seen.is_some() {
        return Ok(false);
    }
    diesel::insert_into(events::table).values(events::id.eq(event)).execute(conn)?; // expect: select-then-write
    Ok(true)
}

fn locked(conn: &mut PgConnection, id: i64, amount: i64) -> Result<(), Refused> { // fine: select-then-write
    let account = accounts::table.find(id).for_update().first::<Account>(conn)?;
    if account.balance < amount {
        return Err(Refused);
    }
    diesel::update(accounts::table.find(id)).set(accounts::balance.eq(account.balance - amount)).execute(conn)?;
    Ok(())
}

fn on_a_condition(conn: &mut PgConnection, id: i64, amount: i64) -> Result<(), Refused> { // fine: select-then-write
    let account = accounts::table.find(id).first::<Account>(conn)?;
    if account.balance < amount {
        return Err(Refused);
    }
    diesel::update(accounts::table.find(id).filter(accounts::balance.ge(amount)))
        .set(accounts::balance.eq(accounts::balance - amount))
        .execute(conn)?;
    Ok(())
}

fn another_table_of_diesel(conn: &mut PgConnection, id: i64) -> Result<(), Refused> { // fine: select-then-write
    let order = orders::table.find(id).first::<Order>(conn)?;
    if order.is_closed {
        return Err(Refused);
    }
    diesel::update(visits::table.find(id)).set(visits::count.eq(visits::count + 1)).execute(conn)?;
    Ok(())
}

fn if_it_is_new(conn: &mut PgConnection, event: &str) -> Result<bool, Refused> { // fine: select-then-write
    let seen = events::table.filter(events::id.eq(event)).first::<Event>(conn).optional()?;
    if seen.is_some() {
        return Ok(false);
    }
    let rows = diesel::insert_into(events::table).values(events::id.eq(event)).on_conflict_do_nothing().execute(conn)?;
    Ok(rows == 1)
}

// select-then-write: SeaORM
async fn all_at_once(db: &DatabaseConnection, id: i32) -> Result<(), Refused> {
    let seat = Seat::find_by_id(id).one(db).await?.ok_or(Refused)?;
    if seat.is_taken {
        return Err(Refused);
    }
    Seat::update_many().col_expr(Column::IsTaken, Expr::value(true)).filter(Column::Id.eq(id)).exec(db).await?; // expect: select-then-write
    Ok(())
}

async fn by_its_id(db: &DatabaseConnection, id: i32) -> Result<(), Refused> {
    let draft = draft::Entity::find_by_id(id).one(db).await?;
    if draft.is_none_or(|it| it.is_published) {
        return Err(Refused);
    }
    draft::Entity::delete_by_id(id).exec(db).await?; // expect: select-then-write
    Ok(())
}

async fn seat_if_free(db: &DatabaseConnection, id: i32) -> Result<bool, Refused> { // fine: select-then-write
    let seat = Seat::find_by_id(id).one(db).await?.ok_or(Refused)?;
    if seat.is_taken {
        return Ok(false);
    }
    let changed = Seat::update_many()
        .col_expr(Column::IsTaken, Expr::value(true))
        .filter(Column::Id.eq(id))
        .filter(Column::IsTaken.eq(false))
        .exec(db)
        .await?;
    Ok(changed.rows_affected == 1)
}

async fn seat_locked(tx: &DatabaseTransaction, id: i32) -> Result<(), Refused> { // fine: select-then-write
    let seat = Seat::find_by_id(id).lock_exclusive().one(tx).await?.ok_or(Refused)?;
    if seat.is_taken {
        return Err(Refused);
    }
    Seat::update_many().col_expr(Column::IsTaken, Expr::value(true)).filter(Column::Id.eq(id)).exec(tx).await?;
    Ok(())
}

// checked-then-changed: SeaORM
async fn approve(db: &DatabaseConnection, id: i32) -> Result<(), Refused> {
    let order = Order::find_by_id(id).one(db).await?.ok_or(Refused)?;
    if order.status != "paid" {
        return Err(Refused);
    }
    let mut order_model = order.into_active_model();
    order_model.status = Set("approved".to_owned());
    order_model.update(db).await?; // expect: checked-then-changed
    Ok(())
}

async fn remove_pending(db: &DatabaseConnection, id: i32) -> Result<(), Refused> {
    let order = order::Entity::find().filter(order::Column::Id.eq(id)).one(db).await?.ok_or(Refused)?;
    if !order.pending {
        return Err(Refused);
    }
    order.delete(db).await?; // expect: checked-then-changed
    Ok(())
}

async fn take(db: &DatabaseConnection, id: i32, amount: i64) -> Result<(), Refused> {
    let wallet = Wallet::find_by_id(id).one(db).await?.ok_or(Refused)?;
    let balance = wallet.balance;
    if balance < amount {
        return Err(Refused);
    }
    let mut active = wallet.into_active_model();
    active.balance = Set(balance - amount);
    active.save(db).await?; // expect: checked-then-changed
    Ok(())
}

async fn approve_locked(tx: &DatabaseTransaction, id: i32) -> Result<(), Refused> { // fine: checked-then-changed
    let order = Order::find_by_id(id).lock_exclusive().one(tx).await?.ok_or(Refused)?;
    if order.status != "paid" {
        return Err(Refused);
    }
    let mut active = order.into_active_model();
    active.status = Set("approved".to_owned());
    active.update(tx).await?;
    Ok(())
}

async fn renamed(db: &DatabaseConnection, id: i32, name: String) -> Result<(), Refused> { // fine: checked-then-changed
    let order = Order::find_by_id(id).one(db).await?.ok_or(Refused)?;
    let mut active = order.into_active_model();
    active.name = Set(name);
    active.update(db).await?;
    Ok(())
}

async fn shown(db: &DatabaseConnection, id: i32) -> Result<Order, Refused> { // fine: checked-then-changed
    let order = Order::find_by_id(id).one(db).await?.ok_or(Refused)?;
    if order.status != "paid" {
        return Err(Refused);
    }
    Ok(order)
}
